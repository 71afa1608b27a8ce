"""``swarm-chaos faults``: the catalogue, as a table, in detail, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from harness.cli.output import json_option, say, show, table_of
from harness.errors import UsageError
from harness.faults.catalogue import catalogue, facts_of, kind_of
from harness.faults.extensions import FAULTS, extensions, fault_of

if TYPE_CHECKING:
    from rich.table import Table

    from harness.faults import Fault

_ACTS_ON = {
    "node": "each node that the target names",
    "links": "the links that the target names",
    "service": "a service outside the swarm, run by the harness",
    "swarm": "the swarm",
}


@click.command()
@click.argument("name", required=False)
@json_option
def faults(name: str | None, as_json: bool) -> None:
    """List the faults, those of other packages included; with NAME, everything about one."""
    kinds = [kind_of(name)] if name else [*catalogue().values(), *_of_other_packages()]
    facts = [facts_of(kind) for kind in kinds]
    if as_json:
        click.echo(json.dumps(facts[0] if name else facts, indent=2))
    elif name:
        click.echo("\n".join(detail(facts[0])))
    else:
        show(table(facts))
        click.echo("\n`swarm-chaos faults NAME` says everything about one.")


def _of_other_packages() -> Iterator[type[Fault]]:
    """Yield the faults of other packages; of one that cannot be used it is said why."""
    for entry in extensions(FAULTS):
        try:
            yield fault_of(entry)
        except UsageError as error:
            say(f"! {error}")


def table(facts: list[dict[str, Any]]) -> Table:
    """Return the catalogue as a table, by groups."""
    from rich.text import Text

    made = table_of("fault", "what it does")
    for group, members in groupby(facts, key=lambda each: each["group"]):
        made.add_row(Text(group, style="bold"))
        for each in members:
            made.add_row(f"  {each['name']}", Text(each["summary"]))
            if parameters := ", ".join(_short(parameter) for parameter in each["parameters"]):
                made.add_row("", Text(parameters))
            if each["needs"]:
                made.add_row("", f"needs {', '.join(each['needs'])}")
    return made


def detail(facts: dict[str, Any]) -> Iterator[str]:
    """Yield everything about one fault, line by line."""
    yield f"{facts['name']} ({facts['group']})"
    yield f"  {facts['summary']}"
    yield f"  acts on   {_ACTS_ON[facts['acts_on']]}"
    for parameter in facts["parameters"]:
        given = parameter["default"]
        must = "must be given" if given is None else f"default {given or 'none'}"
        unit = f" ({parameter['unit']})" if parameter["unit"] else ""
        yield f"  {parameter['name']}{unit}: {parameter['help']}; {must}"
    yield f"  needs     {', '.join(facts['needs']) or 'nothing'}"
    yield f"  evidence  {facts['evidence']}"
    yield f"  excludes  on the same target: {', '.join(facts['excludes'])}"
    if not facts["by_hand"]:
        yield "  by hand   only with --for: it ends with the process that injects it"


def _short(parameter: dict[str, Any]) -> str:
    given = parameter["default"]
    return f"{parameter['name']}=..." if given is None else f"{parameter['name']}={given or '-'}"
