"""``swarm-chaos inject``: a fault on an open lab, by hand."""

from __future__ import annotations

import time

import click

from harness.cli.output import lab_option, seed_option
from harness.errors import UsageError
from harness.faults.catalogue import kind_of, read_parameters
from harness.faults.parameter import duration
from harness.manual.injected_store import InjectedFault
from harness.manual.open_lab import OpenLab, find
from harness.manual.session import ManualSession, parse_parameters


@click.command()
@click.argument("fault")
@click.argument("target")
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--for", "lasts", metavar="30s", help="Wait, and heal it after this time or Ctrl-C.")
@lab_option
@seed_option
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
    given = parse_parameters(parameters)
    read_parameters(kind, given)
    seconds = None if lasts is None else duration(lasts)
    if kind.ends_with_process and seconds is None:
        raise UsageError(
            f"the fault {fault} ends with the process that injects it",
            hint="say for how long: --for 30s",
        )
    opened = find(lab)
    injected: list[InjectedFault] = []
    try:
        with opened.entered() as entered, ManualSession(entered, seed=seed) as session:
            try:
                injected += session.inject(fault, target, given)
                for each in injected:
                    click.echo(f"injected {each.id} on {each.target}: {each.evidence}")
                if kind.ends_with_process and seconds is not None:
                    time.sleep(seconds)  # with the lab locked: this process keeps the fault up
            finally:
                if kind.ends_with_process and injected:
                    session.heal([each.id for each in injected], say=click.echo)
        if seconds is not None and not kind.ends_with_process:
            time.sleep(seconds)
    finally:
        if seconds is not None:
            _heal_what_is_left(opened, injected)


def _heal_what_is_left(opened: OpenLab, injected: list[InjectedFault]) -> None:
    """Heal what no other command has healed meanwhile."""
    if not injected:
        return
    with opened.entered() as lab, ManualSession(lab) as session:
        there = {each.id for each in session.store.all()}
        if ours := [each.id for each in injected if each.id in there]:
            session.heal(ours, say=click.echo)
