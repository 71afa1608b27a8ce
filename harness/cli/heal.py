"""``swarm-chaos heal``: end faults that were injected by hand."""

from __future__ import annotations

import click

from harness.cli.output import lab_option
from harness.manual.open_lab import find
from harness.manual.session import ManualSession


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@lab_option
def heal(ids: tuple[str, ...], lab: str | None) -> None:
    """Heal the faults with these IDs, or all of them, the last injected first.

    Works from any terminal, even when the process that injected them has died.
    """
    with find(lab).entered() as entered, ManualSession(entered) as session:
        if not session.store.all() and not ids:
            click.echo("nothing is injected")
        else:
            session.heal(ids, say=click.echo)
