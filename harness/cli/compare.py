"""``swarm-chaos compare``: runs, or engines within them, side by side."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import EXIT_EXPECTATION, TrialError, UsageError

if TYPE_CHECKING:
    from harness.results.comparison import Comparison

_PATH = click.Path(path_type=Path)
FORMS = ("table", "markdown", "json", "html", "changes")
SUFFIXES = {".md": "markdown", ".json": "json", ".html": "html"}
FAILING = ("regressed", "different", "inconclusive", "improved")


def _words(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    words = tuple(word.strip() for word in value.split(",")) if value else ()
    for word in words:
        if word not in FAILING:
            raise click.BadParameter(f"{word!r} is none of {', '.join(FAILING)}")
    return words


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=_PATH)
@click.option(
    "--by",
    type=click.Choice(["run", "engine"]),
    default="run",
    show_default=True,
    help="What is compared: whole runs, or the engine versions within them.",
)
@click.option("--baseline", metavar="VERSION", help="With --by engine: instead of the oldest.")
@click.option("--only", "-k", metavar="TEXT", help="Only scenarios with TEXT in their name.")
@click.option("--thresholds", type=_PATH, help="TOML file: which differences count.")
@click.option(
    "--fail-on",
    callback=_words,
    metavar="WORD[,WORD]",
    help=f"Exit code 1 if a measure came out so: {', '.join(FAILING)}.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMS), default="table", help="On standard output."
)
@click.option(
    "--write", type=_PATH, multiple=True, help="Also into this file: .md, .json or .html."
)
@click.option("--all", "whole", is_flag=True, help="In the table: also what did not change.")
@click.option(
    "--reports",
    default="reports",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds the runs.",
)
@click.pass_context
def compare(
    ctx: click.Context,
    runs: tuple[Path, ...],
    by: str,
    baseline: str | None,
    only: str | None,
    thresholds: Path | None,
    fail_on: tuple[str, ...],
    form: str,
    write: tuple[Path, ...],
    whole: bool,
    reports: Path,
) -> None:
    """Compare RUNS (folders or ids) to the first of them, or the engines within RUNS.

    Says of every measure whether it regressed, improved, is the same, within noise, or whether
    there are not enough trials to tell.
    """
    forms = [(path, _form_of(path)) for path in write]
    comparison = _compared(runs, by, baseline, only, thresholds, reports)
    _show(comparison, form, whole)
    for path, as_form in forms:
        _write(path, written(comparison, as_form))
    _tell_github(comparison)
    if comparison.words & set(fail_on):
        ctx.exit(EXIT_EXPECTATION)


def written(comparison: Comparison, form: str) -> str:
    """A comparison in one of the forms but the table."""
    from harness.report.comparing import markdown, render_comparison, what_changed

    match form:
        case "markdown":
            return markdown(comparison)
        case "html":
            return render_comparison(comparison)
        case "changes":
            return json.dumps(what_changed(comparison), indent=2, ensure_ascii=False) + "\n"
        case _:
            import msgspec

            return msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode() + "\n"


def _compared(
    runs: Sequence[Path],
    by: str,
    baseline: str | None,
    only: str | None,
    thresholds: Path | None,
    reports: Path,
) -> Comparison:
    from harness.results import read_run
    from harness.results.comparison import compare as hold
    from harness.results.comparison_sides import limited, sides_by_engine, sides_by_run
    from harness.results.find_run import chosen_run
    from harness.results.thresholds import read_thresholds

    settings = read_thresholds(thresholds) if thresholds else None
    if baseline is not None and by != "engine":
        raise UsageError(
            "--baseline names an engine, and runs are compared",
            hint="the first run named is the baseline; or add --by engine",
        )
    read = [read_run(chosen_run(run, reports)) for run in runs]
    sides = sides_by_engine(read, baseline=baseline) if by == "engine" else sides_by_run(read)
    if only is not None:
        sides = [limited(side, only) for side in sides]
        if not any(side.trials for side in sides):
            raise UsageError(f"no scenario has {only!r} in its name")
    return hold(sides, settings, by="engine" if by == "engine" else "run")


def _show(comparison: Comparison, form: str, whole: bool) -> None:
    if form != "table":
        click.echo(written(comparison, form), nl=False)
        return
    from rich.console import Console

    from harness.report.comparing import table

    Console().print(table(comparison, whole=whole))


def _form_of(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: a comparison is written as {', '.join(SUFFIXES)}",
            hint="for what changed, as a webhook takes it: --format changes > FILE",
        )
    return SUFFIXES[path.suffix]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrialError(f"cannot write {path}: {error.strerror}") from error


def _tell_github(comparison: Comparison) -> None:
    from harness.report.comparing.github import comparison_to_github

    for line in comparison_to_github(comparison, os.environ):
        # Not among the table or the JSON: GitHub reads both streams.
        click.echo(line, err=True)
