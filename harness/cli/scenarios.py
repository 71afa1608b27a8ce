"""``swarm-chaos scenarios``: what is expected of a swarm, by which measures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby

import click

from harness.cli.output import json_option
from harness.cli.pytest_call import scenarios_folder
from harness.docgen.collection import collect
from harness.docgen.scenario import Scenario, StatedMeasure
from harness.errors import UsageError


@click.command()
@click.argument("name", required=False)
@json_option
def scenarios(name: str | None, as_json: bool) -> None:
    """List the scenarios: topology, upstream issues, needs, measures and limits.

    NAME is a part of a scenario's or a file's name.
    """
    found = [
        scenario
        for scenario in collect(scenarios_folder())
        if name is None or name in f"{scenario.file}::{scenario.name}"
    ]
    if not found:
        raise UsageError(f"no scenario has {name!r} in its name")
    if as_json:
        click.echo(json.dumps([scenario.facts() for scenario in found], indent=2))
    else:
        click.echo("\n".join(table(found)))


def table(scenarios: list[Scenario]) -> Iterator[str]:
    """Yield the scenarios line by line, by files."""
    for file, members in groupby(scenarios, key=lambda each: each.file):
        inside = list(members)
        yield f"{file}: {inside[0].about.splitlines()[0] if inside[0].about else ''}"
        for scenario in inside:
            yield from _one(scenario)
        yield "  measures"
        for measure in inside[0].measures:
            yield f"    {_shown(measure)}"
        yield ""


def _one(scenario: Scenario) -> Iterator[str]:
    kind = "control" if scenario.is_control else "thorough" if scenario.thorough else ""
    marks = " ".join(filter(None, (scenario.topology, kind)))
    yield f"  {scenario.name} ({marks})"
    yield f"    {scenario.title}"
    for label, names in (
        ("cases", scenario.cases),
        ("upstream", scenario.threads),
        ("needs", scenario.needs),
        ("known bugs", scenario.known_bugs),
        ("must break", scenario.must_break),
    ):
        if names:
            yield f"    {label}: {', '.join(names)}"


def _shown(measure: StatedMeasure) -> str:
    """Return ``time to a new leader: at most 45 s``; the unit alone when nothing is expected."""
    unit = "" if measure.unit in ("1", "") else measure.unit
    if not measure.expected:
        return f"{measure.name} ({unit})" if unit else measure.name
    return f"{measure.name}: {measure.expected} {unit}".rstrip()
