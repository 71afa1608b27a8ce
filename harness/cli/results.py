"""``swarm-chaos results``: work with stored runs, without Linux, root or Docker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.cli.failures import failures
from harness.cli.output import json_option, reports_option, show
from harness.errors import EXIT_EXPECTATION, EXIT_TROUBLE
from harness.results.find_run import find_run
from harness.results.run import Run, list_runs, read_run
from harness.results.scenario_names import short_name

if TYPE_CHECKING:
    from harness.results.history import Series

_RUN = click.Path(path_type=Path)


@click.group("results")
def results() -> None:
    """List, check, merge, export and query stored runs. A RUN is a folder or an id."""


results.add_command(failures)


@results.command("list")
@reports_option
@json_option
def list_(reports: Path, as_json: bool) -> None:
    """List the runs, oldest first: trials by outcome, and what is damaged."""
    rows = [_row(read_run(folder)) for folder in list_runs(reports)]
    if as_json:
        _print_json(rows)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True)
    for column in ("trials", "as expected", "not as expected", "unknown", "damaged"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("engines", overflow="fold")
    for row in rows:
        shown = (value for key, value in row.items() if key != "started")
        table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in shown))
    show(table)


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
@reports_option
def check(runs: tuple[Path, ...], reports: Path) -> None:
    """Check RUNS (default: the latest) for damage; exit with code 2 if there is any."""
    from harness.results.check import check_run

    found = False
    for name in runs or (None,):
        run = read_run(find_run(name, reports))
        damage = check_run(run)
        problems = _counted(len(damage), "problem") if damage else "no damage"
        click.echo(f"{run.record.id}: {_counted(len(run.trials), 'trial')} read, {problems} found")
        for one in damage:
            where = one.path.relative_to(run.folder) if run.folder in one.path.parents else one.path
            click.echo(f"  {where}: {one.sentence}")
        found = found or bool(damage)
    if found:
        click.get_current_context().exit(EXIT_TROUBLE)


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@reports_option
def rejudge(runs: tuple[Path, ...], reports: Path) -> None:
    """Judge the trials of RUNS (default: the latest) again, by today's expectations.

    Nothing is written. Exit code 1 if a trial that was as expected would not be today.
    """
    from harness.cli.pytest_call import scenarios_folder
    from harness.docgen.collection import expectations
    from harness.results.rejudge import rejudged
    from harness.trial import as_expected

    known = expectations(scenarios_folder())
    count = changed = worse = 0
    for run in (read_run(find_run(name, reports)) for name in runs or (None,)):
        for trial in run.trials:
            file = trial.record.inputs.scenario.partition("::")[0].rpartition("/")[2]
            again = rejudged(trial, known.get(file, {}))
            count += 1
            if not again.changes:
                continue
            changed += 1
            worse += as_expected(trial.record) is True and as_expected(again.today) is not True
            click.echo(f"{trial.id}: {trial.record.verdict}, today {again.today.verdict}")
            for before, after in again.changes:
                click.echo(f"  was    {before}\n  today  {after}")
    click.echo(f"{_counted(count, 'trial')} judged again: {changed} differently, {worse} for worse")
    if worse:
        click.get_current_context().exit(EXIT_EXPECTATION)


@results.command()
@click.argument("runs", nargs=-1, type=_RUN, required=True)
@click.option("--into", required=True, type=_RUN, help="Folder for the new run.")
@reports_option
def merge(runs: tuple[Path, ...], into: Path, reports: Path) -> None:
    """Merge RUNS (the shards of a suite) into one new run."""
    from harness.results.merge import merge_runs

    merged = merge_runs([find_run(run, reports) for run in runs], into)
    for sentence in merged.damage:
        click.echo(f"! {sentence}", err=True)
    click.echo(
        f"{merged.folder}: {_counted(merged.trials, 'trial')} from {_counted(len(runs), 'run')}"
    )
    click.echo(f"to build its pages: swarm-chaos report {merged.folder}", err=True)


@results.command("export")
@click.argument("run", required=False, type=_RUN)
@click.option("--to", type=_RUN, help="Name of the archive (default: RUN.tar.gz).")
@reports_option
def export(run: Path | None, to: Path | None, reports: Path) -> None:
    """Write RUN (default: the latest) to an archive."""
    from harness.results.archive import export_run

    folder = find_run(run, reports)
    target = to or Path(f"{folder.resolve().name}.tar.gz")
    click.echo(export_run(folder, target))


@results.command("import")
@click.argument("archives", nargs=-1, required=True, type=_RUN)
@reports_option
def import_(archives: tuple[Path, ...], reports: Path) -> None:
    """Unpack ARCHIVES made by `results export`; exit with code 2 if one is damaged."""
    from harness.results.archive import import_run

    damaged = False
    for archive in archives:
        imported = import_run(archive, reports)
        click.echo(imported.folder)
        if imported.damage:
            click.echo(
                f"! {archive}: {imported.damage}; everything readable was imported", err=True
            )
            damaged = True
    if damaged:
        click.get_current_context().exit(EXIT_TROUBLE)


@results.command()
@click.argument("kind", type=click.Choice(["run", "trial", "comparison"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of run.json, of trial.json or of a comparison."""
    from harness.results.schema import schema_text

    click.echo(schema_text(kind), nl=False)


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@reports_option
def metrics(runs: tuple[Path, ...], reports: Path) -> None:
    """Print the measures of RUNS (default: the latest) as OpenMetrics text."""
    from harness.results.openmetrics import openmetrics

    read = [read_run(find_run(name, reports)) for name in runs or (None,)]
    click.echo(openmetrics(read), nl=False)


@results.command()
@click.argument("run", required=False, type=_RUN)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for shields.io's endpoint badge.")
@reports_option
def badge(run: Path | None, as_json: bool, reports: Path) -> None:
    """Print a badge of RUN (default: the latest) as SVG."""
    import json

    from harness.results.badge import badge_of

    made = badge_of(read_run(find_run(run, reports)))
    click.echo(json.dumps(made.as_json()) + "\n" if as_json else made.as_svg(), nl=False)


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@reports_option
@json_option
def losses(runs: tuple[Path, ...], reports: Path, as_json: bool) -> None:
    """Print the share of requests lost in RUNS (default: the latest), resampled by trial."""
    from harness.results.request_loss import request_losses

    found = request_losses([read_run(find_run(name, reports)) for name in runs or (None,)])
    if as_json:
        _print_json(found)
        return
    for loss in found:
        control = " (control)" if loss.control else ""
        click.echo(
            f"{short_name(loss.scenario)}{control}, engine {loss.engine}, {loss.topology}, "
            f"{loss.lab} lab, {loss.clock} time: {100 * loss.share:.3g} % {loss.kind} "
            f"(95 %: {100 * loss.low:.3g} to {100 * loss.high:.3g} %), "
            f"{_counted(loss.trials, 'trial')}, {_counted(loss.requests, 'request')}"
        )


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@click.option("--of", type=click.Choice(["trials", "engines"]), default="trials", show_default=True)
@reports_option
def table(runs: tuple[Path, ...], of: str, reports: Path) -> None:
    """Print the measures of RUNS (default: the latest) as CSV, for spreadsheets.

    There is a row per trial, or per engine with the minimum, median and maximum of its trials.
    """
    from harness.results.table import EngineRow, TrialRow, as_csv, engine_rows, trial_rows

    read = [read_run(find_run(name, reports)) for name in runs or (None,)]
    if of == "trials":
        click.echo(as_csv(TrialRow._fields, trial_rows(read)), nl=False)
    else:
        click.echo(as_csv(EngineRow._fields, engine_rows(read)), nl=False)


@results.command()
@click.argument("run", required=False, type=_RUN)
@reports_option
@json_option
def growth(run: Path | None, reports: Path, as_json: bool) -> None:
    """Print how fast the daemons' memory grew in RUN (default: the latest)."""
    from harness.results.memory_growth import memory_growth

    found = memory_growth(read_run(find_run(run, reports)))
    if as_json:
        _print_json(found)
        return
    for one in found:
        click.echo(
            f"{one.trial}, {one.node}, {one.quantity}: {one.per_hour:+.3g} MiB/h "
            f"(95 %: {one.low:+.3g} to {one.high:+.3g}), {one.since:.0f} s to {one.until:.0f} s"
            f"{', growing' if one.grows else ''}"
        )


@results.command()
@click.argument("runs", nargs=-1, type=_RUN)
@click.option("--thresholds", type=_RUN, help="TOML file that says which differences count.")
@click.option("--all", "show_all", is_flag=True, help="Also list measures that did not change.")
@reports_option
@json_option
def history(
    runs: tuple[Path, ...], thresholds: Path | None, show_all: bool, reports: Path, as_json: bool
) -> None:
    """Print the runs at which measures changed, over RUNS (default: all of them)."""
    from harness.results.history import history_of
    from harness.results.thresholds import read_thresholds

    folders = [find_run(run, reports) for run in runs] or list(list_runs(reports))
    series = history_of(
        [read_run(folder) for folder in folders],
        read_thresholds(thresholds) if thresholds else None,
    )
    if as_json:
        _print_json(series)
        return
    for line in _history_lines(series, show_all):
        click.echo(line)


def _history_lines(series: tuple[Series, ...], show_all: bool) -> list[str]:
    from harness.results.statistics.changes import LEAST

    lines = []
    for one in series:
        head = (
            f"{short_name(one.scenario)}, {one.measure} "
            f"({one.engine}, {one.topology}, {one.lab}, {one.clock} time): "
        )
        for change in one.changes:
            engines = (
                f", engine {change.engine_before} before, {change.engine} after"
                if change.engine != change.engine_before
                else ""
            )
            lines.append(
                f"{head}{change.outcome} from run {change.run} on{engines}: "
                f"from {change.before:.4g} to {change.after:.4g} {one.unit} (p = {change.p:.2g})"
            )
        if show_all and not one.changes:
            lines.append(f"{head}{'no change' if one.enough_runs else 'too few runs to tell'}")
    short = sum(not one.enough_runs for one in series)
    changed = sum(bool(one.changes) for one in series)
    lines.append(
        f"{_counted(len(series), 'measure')}, {changed} changed"
        + (f"; {short} with fewer than {2 * LEAST} runs, too few to tell" if short else "")
    )
    return lines
