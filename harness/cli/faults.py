"""``swarm-chaos faults``: the catalogue, as a table, in detail, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import click

from harness.faults.catalogue import catalogue, facts_of, kind_of

_ACTS_ON = {
    "node": "each node that the target names",
    "links": "the links that the target names",
    "service": "a service outside the swarm, run by the harness",
    "swarm": "the swarm",
}


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def faults(name: str | None, as_json: bool) -> None:
    """List the faults there are; with NAME, all about one."""
    facts = [facts_of(kind) for kind in ([kind_of(name)] if name else catalogue().values())]
    if as_json:
        click.echo(json.dumps(facts[0] if name else facts, indent=2))
    elif name:
        click.echo("\n".join(detail(facts[0])))
    else:
        click.echo("\n".join(table(facts)))


def table(facts: list[dict[str, Any]]) -> Iterator[str]:
    """The catalogue under the heads of its groups."""
    width = max(len(each["name"]) for each in facts)
    for group, members in groupby(facts, key=lambda each: each["group"]):
        yield f"{group.upper()}"
        for each in members:
            yield f"  {each['name'].ljust(width)}  {each['summary']}"
            if settings := ", ".join(_short(parameter) for parameter in each["parameters"]):
                yield f"  {' ' * width}  {settings}"
            if each["needs"]:
                yield f"  {' ' * width}  needs {', '.join(each['needs'])}"
    yield ""
    yield "`swarm-chaos faults NAME` shows all about one."


def detail(facts: dict[str, Any]) -> Iterator[str]:
    """All about one fault."""
    yield f"{facts['name']} ({facts['group']})"
    yield f"  {facts['summary']}"
    yield f"  acts on   {_ACTS_ON[facts['acts_on']]}"
    for parameter in facts["parameters"]:
        given = parameter["default"]
        must = "must be given" if given is None else f"default {given or 'none'}"
        unit = f" ({parameter['unit']})" if parameter["unit"] else ""
        yield f"  {parameter['name']}{unit}: {parameter['help']}; {must}"
    yield f"  needs     {', '.join(facts['needs']) or 'nothing special'}"
    yield f"  evidence  {facts['evidence']}"
    yield f"  excludes  on the same target: {', '.join(facts['excludes'])}"
    if not facts["by_hand"]:
        yield "  by hand   only for as long as the command stays: it ends with its process"


def _short(parameter: dict[str, Any]) -> str:
    given = parameter["default"]
    return f"{parameter['name']}=..." if given is None else f"{parameter['name']}={given or '-'}"
