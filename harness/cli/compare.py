"""``swarm-chaos compare``: compare runs, or the engines within them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import reports_option, show
from harness.errors import EXIT_EXPECTATION, EXIT_TROUBLE, TrialError, UsageError

if TYPE_CHECKING:
    from harness.results.comparison import Comparison
    from harness.results.comparison_sides import Side

_PATH = click.Path(path_type=Path)
FORMATS = ("table", "markdown", "json", "html", "changes")
SUFFIXES = {".md": "markdown", ".json": "json", ".html": "html"}
FAILING = ("regressed", "different", "inconclusive", "improved", "unknown")


def _outcomes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in value.split(",")) if value else ()
    for outcome in chosen:
        if outcome not in FAILING:
            raise click.BadParameter(
                f"{outcome!r} is not a valid outcome: give one or more of {', '.join(FAILING)}"
            )
    return chosen


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=_PATH)
@click.option(
    "--by",
    type=click.Choice(["run", "engine"]),
    default="run",
    show_default=True,
    help="Compare whole runs, or the engine versions within them.",
)
@click.option(
    "--baseline",
    metavar="VERSION",
    help="With --by engine: the version to compare with, instead of the oldest.",
)
@click.option("--only", "-k", metavar="TEXT", help="Only scenarios whose name contains TEXT.")
@click.option(
    "--sequential",
    is_flag=True,
    help="Judge so that one may look again and again while trials come in; pairs trials by seed.",
)
@click.option("--thresholds", type=_PATH, help="TOML file that says which differences count.")
@click.option(
    "--fail-on",
    callback=_outcomes,
    metavar="OUTCOME[,OUTCOME]",
    help=f"Exit with code 1 if any measure has this outcome ({', '.join(FAILING[:-1])}), or, "
    f"for {FAILING[-1]}, if any trial has no verdict.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    help="Format on standard output.",
)
@click.option(
    "--write", type=_PATH, multiple=True, help="Also write this file: .md, .json or .html."
)
@click.option("--all", "show_all", is_flag=True, help="Also list unchanged measures in the table.")
@reports_option
@click.pass_context
def compare(
    ctx: click.Context,
    runs: tuple[Path, ...],
    by: str,
    baseline: str | None,
    only: str | None,
    sequential: bool,
    thresholds: Path | None,
    fail_on: tuple[str, ...],
    form: str,
    write: tuple[Path, ...],
    show_all: bool,
    reports: Path,
) -> None:
    """Compare RUNS (folders or ids) with the first of them, or the engines within RUNS.

    Reports for every measure whether it regressed, improved, stayed the same or changed within
    noise, or whether there are too few trials to tell. Exits with code 2 if nothing could be
    compared for one of the sides.
    """
    forms = [(path, _form_of(path)) for path in write]
    from harness.results.comparison import compare as compare_once
    from harness.results.comparison import compare_in_sequence
    from harness.results.thresholds import read_thresholds

    sides = _sides(runs, by, baseline, only, reports)
    comparison = (compare_in_sequence if sequential else compare_once)(
        sides,
        read_thresholds(thresholds) if thresholds else None,
        by="engine" if by == "engine" else "run",
    )
    _show(comparison, form, show_all)
    for path, as_form in forms:
        _write(path, written(comparison, as_form))
    _report_to_github(comparison)
    for candidate in comparison.without_findings:
        click.echo(
            f"nothing could be compared: {candidate} and {comparison.baseline} have no usable "
            "trials of the same scenario, topology, lab, clock and options",
            err=True,
        )
    if comparison.outcomes & set(fail_on) or ("unknown" in fail_on and comparison.has_unknown):
        ctx.exit(EXIT_EXPECTATION)
    if comparison.without_findings:
        ctx.exit(EXIT_TROUBLE)


def written(comparison: Comparison, form: str) -> str:
    """Return a comparison in any format but the table."""
    from harness.report.comparing import comparison_markdown, render_comparison, webhook_payload

    match form:
        case "markdown":
            return comparison_markdown(comparison)
        case "html":
            return render_comparison(comparison)
        case "changes":
            return json.dumps(webhook_payload(comparison), indent=2, ensure_ascii=False) + "\n"
        case _:
            import msgspec

            return msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode() + "\n"


def _sides(
    runs: Sequence[Path], by: str, baseline: str | None, only: str | None, reports: Path
) -> list[Side]:
    from harness.results import read_run
    from harness.results.comparison_sides import sides_by_engine, sides_by_run, with_scenarios
    from harness.results.find_run import find_run

    if baseline is not None and by != "engine":
        raise UsageError(
            "--baseline names an engine, but runs are being compared",
            hint="list the baseline run first, or add --by engine",
        )
    read = [read_run(find_run(run, reports)) for run in runs]
    sides = sides_by_engine(read, baseline=baseline) if by == "engine" else sides_by_run(read)
    if only is not None:
        sides = [with_scenarios(side, only) for side in sides]
        if not any(side.trials for side in sides):
            raise UsageError(f"no scenario has a name containing {only!r}")
    return sides


def _show(comparison: Comparison, form: str, show_all: bool) -> None:
    if form != "table":
        click.echo(written(comparison, form), nl=False)
        return
    from harness.report.comparing import comparison_table

    show(comparison_table(comparison, show_all=show_all))


def _form_of(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"cannot write a comparison to {path}: the name must end in {', '.join(SUFFIXES)}",
            hint="for a webhook: --format changes > FILE",
        )
    return SUFFIXES[path.suffix]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrialError(f"cannot write {path}: {error.strerror}") from error


def _report_to_github(comparison: Comparison) -> None:
    from harness.report.comparing.github import comparison_to_github

    for line in comparison_to_github(comparison, os.environ):
        # On stderr, apart from the table or the JSON: GitHub reads both streams.
        click.echo(line, err=True)
