"""``swarm-chaos results``: the store of runs, without Linux, root or Docker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.errors import EXIT_TROUBLE
from harness.results.find_run import chosen_run
from harness.results.run import Run, list_runs, read_run

if TYPE_CHECKING:
    from harness.results.history import Series

_RUN = click.Path(path_type=Path)
_reports = click.option(
    "--reports",
    default="reports",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds the runs.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("results")
def results() -> None:
    """Runs on disk: list, check, merge, carry, query. A RUN is a folder or an id."""


@results.command("list")
@_reports
@_json
def list_(reports: Path, as_json: bool) -> None:
    """List the runs, oldest first: trials, how they came out, what is damaged."""
    rows = [_row(read_run(folder)) for folder in list_runs(reports)]
    if as_json:
        _print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True)
    for column in ("trials", "good", "bad", "unknown", "damaged"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("engines", overflow="fold")
    for row in rows:
        shown = (value for key, value in row.items() if key != "started")
        table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in shown))
    Console().print(table)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _row(run: Run) -> dict[str, object]:
    from harness.results.versions import by_version
    from harness.trial import as_expected

    outcomes = [as_expected(trial.record) for trial in run.trials]
    return {
        "run": run.record.id,
        "started": run.record.started,
        "trials": len(outcomes),
        "as_expected": outcomes.count(True),
        "not_as_expected": outcomes.count(False),
        "unknown": outcomes.count(None),
        "damaged": len(run.damaged),
        "engines": sorted({t.record.inputs.engine.version for t in run.trials}, key=by_version),
    }


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@_reports
def check(runs: tuple[Path, ...], reports: Path) -> None:
    """Read RUNS whole (default: the latest) and say what is damaged: exit code 2 if anything."""
    from harness.results.check import check_run

    found = False
    for name in runs or (None,):
        run = read_run(chosen_run(name, reports))
        damage = check_run(run)
        click.echo(
            f"{run.record.id}: {_counted(len(run.trials), 'trial')} read, "
            f"{len(damage) or 'nothing'} damaged"
        )
        for one in damage:
            where = one.path.relative_to(run.folder) if run.folder in one.path.parents else one.path
            click.echo(f"  {where}: {one.sentence}")
        found = found or bool(damage)
    if found:
        click.get_current_context().exit(EXIT_TROUBLE)


@results.command()
@click.argument("runs", nargs=-1, type=_RUN, required=True)
@click.option("--into", required=True, type=_RUN, help="Folder of the new run.")
@_reports
def merge(runs: tuple[Path, ...], into: Path, reports: Path) -> None:
    """Merge RUNS (the shards of a suite) into one new run."""
    from harness.results.merge import merge_runs

    merged = merge_runs([chosen_run(run, reports) for run in runs], into)
    for sentence in merged.damage:
        click.echo(f"! {sentence}", err=True)
    click.echo(
        f"{merged.folder}: {_counted(merged.trials, 'trial')} of {_counted(len(runs), 'run')}"
    )
    click.echo(f"the page of it: swarm-chaos report {merged.folder}", err=True)


@results.command("export")
@click.argument("run", required=False, type=_RUN)
@click.option("--to", type=_RUN, help="The archive's name (default: RUN.tar.gz here).")
@_reports
def export(run: Path | None, to: Path | None, reports: Path) -> None:
    """Write RUN (default: the latest) into one archive."""
    from harness.results.archive import export_run

    folder = chosen_run(run, reports)
    target = to or Path(f"{folder.resolve().name}.tar.gz")
    click.echo(export_run(folder, target))


@results.command("import")
@click.argument("archives", nargs=-1, required=True, type=_RUN)
@_reports
def import_(archives: tuple[Path, ...], reports: Path) -> None:
    """Unpack ARCHIVES of `results export` into the store. Exit code 2 if one is damaged."""
    from harness.results.archive import import_run

    damaged = False
    for archive in archives:
        imported = import_run(archive, reports)
        click.echo(imported.folder)
        if imported.damage:
            click.echo(f"! {archive}: {imported.damage}; what was whole is there", err=True)
            damaged = True
    if damaged:
        click.get_current_context().exit(EXIT_TROUBLE)


@results.command()
@click.argument("kind", type=click.Choice(["run", "trial", "comparison"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of run.json, trial.json or of what compare writes."""
    from harness.results.schema import schema_text

    click.echo(schema_text(kind), nl=False)


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@_reports
def metrics(runs: tuple[Path, ...], reports: Path) -> None:
    """Print the measures of RUNS (default: the latest) as OpenMetrics text."""
    from harness.results.openmetrics import openmetrics

    read = [read_run(chosen_run(name, reports)) for name in runs or (None,)]
    click.echo(openmetrics(read), nl=False)


@results.command()
@click.argument("run", required=False, type=_RUN)
@click.option("--json", "as_json", is_flag=True, help="What shields.io's endpoint badge reads.")
@_reports
def badge(run: Path | None, as_json: bool, reports: Path) -> None:
    """Print a badge of RUN (default: the latest) as SVG."""
    import json

    from harness.results.badge import badge_of

    made = badge_of(read_run(chosen_run(run, reports)))
    click.echo(json.dumps(made.as_json()) + "\n" if as_json else made.as_svg(), nl=False)


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@_reports
@_json
def losses(runs: tuple[Path, ...], reports: Path, as_json: bool) -> None:
    """Say what share of requests was lost in RUNS (default: the latest), by whole trials."""
    from harness.results.request_loss import losses_of

    found = losses_of([read_run(chosen_run(name, reports)) for name in runs or (None,)])
    if as_json:
        _print_json(found)
        return
    for loss in found:
        control = " (control)" if loss.control else ""
        click.echo(
            f"{loss.scenario.rpartition('::')[2]}{control}, engine {loss.engine}, {loss.topology}, "
            f"{loss.lab} lab, {loss.clock} time: {100 * loss.share:.3g} % {loss.kind} "
            f"(95 %: {100 * loss.low:.3g} to {100 * loss.high:.3g} %), "
            f"{_counted(loss.trials, 'trial')}, {_counted(loss.requests, 'request')}"
        )


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@click.option("--of", type=click.Choice(["trials", "engines"]), default="trials", show_default=True)
@_reports
def table(runs: tuple[Path, ...], of: str, reports: Path) -> None:
    """Print the measures of RUNS (default: the latest) as CSV, for spreadsheets.

    A row for every trial; or for every engine, with the least, the median and the most of its
    trials.
    """
    from harness.results.table import OfEngine, OfTrial, as_csv, of_engines, of_trials

    read = [read_run(chosen_run(name, reports)) for name in runs or (None,)]
    if of == "trials":
        click.echo(as_csv(OfTrial._fields, of_trials(read)), nl=False)
    else:
        click.echo(as_csv(OfEngine._fields, of_engines(read)), nl=False)


@results.command()
@click.argument("run", required=False, type=_RUN)
@_reports
@_json
def growth(run: Path | None, reports: Path, as_json: bool) -> None:
    """Say how fast the daemons' memory grew in RUN (default: the latest)."""
    from harness.results.memory_growth import growth_of

    found = growth_of(read_run(chosen_run(run, reports)))
    if as_json:
        _print_json(found)
        return
    for one in found:
        click.echo(
            f"{one.trial}, {one.node}, {one.quantity}: {one.per_hour:+.3g} MiB/h "
            f"(95 %: {one.low:+.3g} to {one.high:+.3g}), {one.since:.0f} s to {one.until:.0f} s"
            f"{', grows' if one.grows else ''}"
        )


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@click.option("--thresholds", type=_RUN, help="TOML file: which differences count.")
@click.option("--all", "whole", is_flag=True, help="Also series in which nothing changed.")
@_reports
@_json
def history(
    runs: tuple[Path, ...], thresholds: Path | None, whole: bool, reports: Path, as_json: bool
) -> None:
    """Say from which run on a measure is another, over RUNS (default: all in the store)."""
    from harness.results.history import history_of
    from harness.results.thresholds import read_thresholds

    folders = [chosen_run(run, reports) for run in runs] or list(list_runs(reports))
    series = history_of(
        [read_run(folder) for folder in folders],
        read_thresholds(thresholds) if thresholds else None,
    )
    if as_json:
        _print_json(series)
        return
    for line in _history_lines(series, whole):
        click.echo(line)


def _history_lines(series: tuple[Series, ...], whole: bool) -> list[str]:
    from harness.results.statistics.changes import LEAST

    lines = []
    for one in series:
        head = (
            f"{one.scenario.rpartition('::')[2]}, {one.measure} "
            f"({one.engine}, {one.topology}, {one.lab}, {one.clock} time): "
        )
        for turn in one.turns:
            engines = (
                f", engine {turn.engine_before} to {turn.engine}"
                if turn.engine != turn.engine_before
                else ""
            )
            lines.append(
                f"{head}{turn.word} from {turn.run} on{engines}: "
                f"{turn.before:.4g} to {turn.after:.4g} {one.unit} (p = {turn.p:.2g})"
            )
        if whole and not one.turns:
            lines.append(f"{head}{'no change' if one.enough else 'too few runs to tell'}")
    short = sum(not one.enough for one in series)
    turned = sum(bool(one.turns) for one in series)
    lines.append(
        f"{len(series)} series, {turned} changed"
        + (f"; {short} of fewer than {2 * LEAST} runs, too few to tell" if short else "")
    )
    return lines
