"""``swarm-chaos schedule``: what a schedule of faults does with a seed, and running it."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.output import lab_option, seed_option
from harness.faults.schedule import ScheduleRun, read_schedule
from harness.manual.open_lab import find
from harness.manual.session import ManualSession

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def schedule() -> None:
    """Faults at set times, repeated, or random by a seed: show what a file does, or run it."""


@schedule.command()
@_file
@seed_option
@click.option("--save", type=click.Path(path_type=Path), help="Write the plan as JSON here.")
def show(file: Path, seed: int, save: Path | None) -> None:
    """Print the plan that FILE (.toml or .json) becomes with a seed."""
    plan = read_schedule(file, seed)
    if save is not None:
        plan.save(save)
    click.echo("\n".join(plan.lines()))


@schedule.command()
@_file
@seed_option
@lab_option
def run(file: Path, seed: int, lab: str | None) -> None:
    """Run FILE on an open lab; Ctrl-C heals what is injected and ends it."""
    plan = read_schedule(file, seed)
    with find(lab).entered() as entered, ManualSession(entered, seed=seed) as session:
        session.trial.journal.listen(_print_entry)
        done = ScheduleRun(session.trial, plan, session.targets).run()
    left_out = sum(not one.faults for one in done)
    click.echo(f"{len(done) - left_out} injections, {left_out} left out")


def _print_entry(entry: dict[str, object]) -> None:
    """Print a line for what the journal says has happened."""
    match entry["kind"]:
        case "fault.evidence":
            click.echo(f"{entry['t']:10.3f} s  injected {entry['id']}: {entry['proof']}")
        case "fault.healed":
            click.echo(f"{entry['t']:10.3f} s  healed {entry['id']}: {entry['proof']}")
        case "note":
            click.echo(f"{entry['t']:10.3f} s  {entry['text']}")
