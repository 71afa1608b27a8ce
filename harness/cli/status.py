"""``swarm-chaos status``: open labs and what is injected in them."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.output import json_option, lab_option, show, table_of
from harness.manual.open_lab import find, open_labs
from harness.manual.status import condition_of, describe_fault, status_of


@click.command()
@lab_option
@json_option
def status(lab: str | None, as_json: bool) -> None:
    """Show open labs: their nodes, the leader, and the faults that are injected by hand."""
    labs = [find(lab)] if lab else open_labs()
    facts = [status_of(opened) for opened in labs]
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    for each in () if as_json else facts:
        _show(each)
    if not facts and not as_json:
        click.echo("no lab is open")


def _show(facts: dict[str, Any]) -> None:
    click.echo(f"lab {facts['lab']} in {facts['folder']}")
    if facts["nodes"] is None:
        click.echo("another command is using it; its nodes were not asked")
    else:
        click.echo(f"{facts['leader']} leads" if facts["leader"] else "the leader is not known")
        nodes = table_of("node", "address", "engine", "state")
        for name, node in facts["nodes"].items():
            nodes.add_row(name, node["address"], node["engine"], condition_of(node))
        show(nodes)
    if not facts["injected"]:
        click.echo("nothing is injected")
    for fault in facts["injected"]:
        click.echo("\n".join(describe_fault(fault)))
