"""``swarm-chaos results failures``: failures by kind over nights, new ones first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import json_option, reports_option, say
from harness.errors import EXIT_EXPECTATION, EXIT_OK, EXIT_TROUBLE, UsageError

if TYPE_CHECKING:
    from harness.results.acknowledged import Acknowledged
    from harness.results.failure_history import Night, Standing

_PATH = click.Path(path_type=Path)
_FAILING = ("new", "known")


@click.command("failures")
@click.argument("runs", nargs=-1, type=_PATH)
@click.option(
    "--history",
    type=_PATH,
    help="JSON file with what earlier nights left; RUNS are added to it, it may not exist yet.",
)
@click.option("--acknowledged", type=_PATH, help="TOML file with the failures that are known.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Leave out nights that began before this day (UTC).",
)
@click.option(
    "--fail-on",
    type=click.Choice(_FAILING),
    default="new",
    show_default=True,
    help="Which failures that nobody has acknowledged are red: new ones, or known ones, too.",
)
@reports_option
@json_option
def failures(
    runs: tuple[Path, ...],
    history: Path | None,
    acknowledged: Path | None,
    since: datetime | None,
    fail_on: str,
    reports: Path,
    as_json: bool,
) -> None:
    """Print the kinds of failure of the last of RUNS (default: all), and which of them are new.

    A kind is a scenario, a measure, and the reason without ids, numbers and addresses; its name
    stays the same from night to night. Exit code 1 if one is new, 2 if all that is new has no
    verdict.
    """
    from harness.report.failure_text import failures_markdown, lines_of
    from harness.report.github import append_summary
    from harness.results.acknowledged import read_acknowledged
    from harness.results.failure_history import standings

    notes = read_acknowledged(acknowledged) if acknowledged else ()
    nights = _nights(runs, history, since, reports)
    found = standings(nights, notes)
    if as_json:
        _print_json(nights, found)
    else:
        for line in lines_of(nights, found):
            click.echo(line)
    for line in _unmatched(nights, notes, acknowledged):
        say(line)
    append_summary(failures_markdown(nights, found), os.environ)
    for line in _annotations(found):
        say(line)
    click.get_current_context().exit(_exit_code(found, fail_on))


def _nights(
    runs: tuple[Path, ...], history: Path | None, since: datetime | None, reports: Path
) -> tuple[Night, ...]:
    from harness.results.failure_history import in_order, night_of, read_history, write_history
    from harness.results.find_run import find_run
    from harness.results.run import list_runs, read_run

    folders = [find_run(run, reports) for run in runs] or list(list_runs(reports))
    earlier = read_history(history).nights if history else ()
    taken = [night_of(read_run(folder)) for folder in folders]
    nights = in_order([*earlier, *taken])
    if not taken:
        raise UsageError(
            f"there is no run under {reports} yet", hint="name runs, or a folder with --reports"
        )
    if history:
        write_history(history, nights)
    if since is None:
        return nights
    day = since.replace(tzinfo=UTC)
    kept = tuple(night for night in nights if _began(night) >= day)
    if not kept:
        raise UsageError(f"no run began on or after {since:%Y-%m-%d}")
    return kept


def _began(night: Night) -> datetime:
    """Return when a night began; one whose record does not say so is always recent enough."""
    try:
        began = datetime.fromisoformat(night.started)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return began if began.tzinfo else began.replace(tzinfo=UTC)


def _print_json(nights: Sequence[Night], found: Sequence[Standing]) -> None:
    import msgspec

    value = {"night": nights[-1].run, "nights": len(nights), "failures": found}
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _unmatched(
    nights: Sequence[Night], notes: Sequence[Acknowledged], path: Path | None
) -> list[str]:
    """Return a line for each acknowledgement of what no night has seen: misspelt, or done with."""
    seen = {kind.name for night in nights for kind in night.kinds}
    return [
        f"! {path}, line {note.line}: no night of {len(nights)} has a failure {note.failure!r}"
        for note in notes
        if note.failure not in seen
    ]


def _annotations(found: Sequence[Standing]) -> list[str]:
    from harness.report.github import annotation, few

    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    return few(
        annotation(
            "error" if one.kind.weight == "fail" else "warning",
            f"new: {one.kind.name}",
            one.kind.reason,
        )
        for one in found
        if one.state == "new"
    )


def _exit_code(found: Sequence[Standing], fail_on: str) -> int:
    red = ("new",) if fail_on == "new" else _FAILING
    weights = {one.kind.weight for one in found if one.state in red}
    if "fail" in weights:
        return EXIT_EXPECTATION
    return EXIT_TROUBLE if weights else EXIT_OK
