"""``swarm-chaos inject``, ``heal``, ``status`` and ``schedule``: faults by hand on an open lab."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from harness.errors import UsageError
from harness.faults.catalogue import kind_of, read_parameters
from harness.faults.parameter import duration
from harness.faults.schedule import ScheduleRun, read_schedule
from harness.manual.injected_store import Page
from harness.manual.open_lab import OpenLab, find, open_labs
from harness.manual.session import ManualSession, parse_words
from harness.manual.status import lines, status_of

_LAB = click.option(
    "--lab", "lab", metavar="LAB", help="Id or folder of a lab (the only open one)."
)
_SEED = click.option("--seed", default=1, show_default=True, help="For what is drawn at random.")


@click.command()
@click.argument("fault")
@click.argument("target")
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--for", "lasts", metavar="30s", help="Stay, and heal it after this time or Ctrl-C.")
@_LAB
@_SEED
def inject(
    fault: str,
    target: str,
    parameters: tuple[str, ...],
    lasts: str | None,
    lab: str | None,
    seed: int,
) -> None:
    """Inject FAULT on TARGET, prove it, and leave it injected until `heal`.

    TARGET is a node (w1), a role (leader, follower, worker, managers, ...), the node that runs a
    task of a service (runs:app), or links ("w1 <-> m1 m2", "leader -> *").
    """
    kind = kind_of(fault)
    words = parse_words(parameters)
    read_parameters(kind, words)
    seconds = None if lasts is None else duration(lasts)
    if kind.ends_with_process and seconds is None:
        raise UsageError(
            f"the fault {fault} ends with the process that injects it",
            hint="say for how long: --for 30s",
        )
    opened = find(lab)
    pages: list[Page] = []
    try:
        with opened.entered() as entered, ManualSession(entered, seed=seed) as bench:
            try:
                pages += bench.inject(fault, target, words)
                for page in pages:
                    click.echo(f"injected {page.id} on {page.target}: {page.evidence}")
                if kind.ends_with_process and seconds is not None:
                    time.sleep(seconds)  # nobody else may come in: what does it is in here
            finally:
                if kind.ends_with_process and pages:
                    bench.heal([page.id for page in pages], say=click.echo)
        if seconds is not None and not kind.ends_with_process:
            time.sleep(seconds)
    finally:
        if seconds is not None:
            _heal_what_is_left(opened, pages)


def _heal_what_is_left(opened: OpenLab, pages: list[Page]) -> None:
    """Heal what has not been healed by others meanwhile."""
    if not pages:
        return
    with opened.entered() as lab, ManualSession(lab) as bench:
        there = {page.id for page in bench.book.pages()}
        if ours := [page.id for page in pages if page.id in there]:
            bench.heal(ours, say=click.echo)


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_LAB
def heal(ids: tuple[str, ...], lab: str | None) -> None:
    """Heal what is injected by hand: each ID, or everything, last injected first.

    Works from any terminal, also when the process that injected it has died.
    """
    with find(lab).entered() as entered, ManualSession(entered) as bench:
        if not bench.book.pages() and not ids:
            click.echo("nothing is injected")
        else:
            bench.heal(ids, say=click.echo)


@click.command()
@_LAB
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(lab: str | None, as_json: bool) -> None:
    """Show open labs: their nodes, who leads, and what is injected by hand."""
    labs = [find(lab)] if lab else open_labs()
    facts = [status_of(opened) for opened in labs]
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    elif facts:
        click.echo("\n".join(line for each in facts for line in lines(each)))
    else:
        click.echo("no lab is open")


@click.group()
def schedule() -> None:
    """Faults at times, repeated, or drawn from a seed: show what a file means, carry it out."""


@schedule.command()
@click.argument("file", type=click.Path(path_type=Path))
@_SEED
@click.option("--save", type=click.Path(path_type=Path), help="Write the plan as JSON here.")
def show(file: Path, seed: int, save: Path | None) -> None:
    """Print the plan that FILE (.toml or .json) makes with a seed."""
    plan = read_schedule(file, seed)
    if save is not None:
        plan.save(save)
    click.echo("\n".join(plan.lines()))


@schedule.command()
@click.argument("file", type=click.Path(path_type=Path))
@_SEED
@_LAB
def run(file: Path, seed: int, lab: str | None) -> None:
    """Carry FILE out on an open lab; Ctrl-C heals what is injected and ends it."""
    plan = read_schedule(file, seed)
    with find(lab).entered() as entered, ManualSession(entered, seed=seed) as bench:
        bench.trial.journal.listen(_tell)
        done = ScheduleRun(bench.trial, plan, bench.targets).run()
    left_out = sum(not one.faults for one in done)
    click.echo(f"{len(done) - left_out} injections, {left_out} left out")


def _tell(entry: dict[str, object]) -> None:
    """A line for what happens."""
    match entry["kind"]:
        case "fault.evidence":
            click.echo(f"{entry['t']:10.3f} s  injected {entry['id']}: {entry['proof']}")
        case "fault.healed":
            click.echo(f"{entry['t']:10.3f} s  healed {entry['id']}: {entry['proof']}")
        case "note":
            click.echo(f"{entry['t']:10.3f} s  {entry['text']}")
