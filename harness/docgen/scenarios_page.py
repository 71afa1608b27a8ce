"""``docs/scenarios.md``: every scenario, its measures and bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from harness.docgen.markdown import cell, filled, plain
from harness.docgen.scenario import Scenario
from harness.docgen.source import Measured

_THREAD = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")


def scenarios_page(scenarios: Iterable[Scenario]) -> str:
    """The page."""
    return filled(
        "scenarios.md.j2",
        sections=[
            "\n".join(_section(file, list(members))).rstrip()
            for file, members in groupby(scenarios, key=lambda each: each.file)
        ],
    )


def _section(file: str, scenarios: list[Scenario]) -> Iterator[str]:
    title, _, rest = scenarios[0].about.partition("\n\n")
    yield f"## {plain(title).rstrip('.') or file}"
    yield ""
    for paragraph in filter(None, rest.split("\n\n")):
        yield plain(paragraph)
        yield ""
    yield f"- in [`{file}`](../scenarios/{file})"
    if topology := _shared(each.topology for each in scenarios):
        yield f"- on {topology}"
    if threads := _shared(", ".join(each.threads) for each in scenarios):
        yield f"- upstream: {_linked(threads)}"
    if needs := _shared(", ".join(each.needs) for each in scenarios):
        yield f"- needs {needs}"
    yield ""
    yield "| scenario | shows |"
    yield "|---|---|"
    for scenario in scenarios:
        yield _row(scenario, own=not topology, threads=not threads, needs=not needs)
    yield ""
    if measures := _merged(scenarios):
        yield "| measure | unit | expected | where from |"
        yield "|---|---|---|---|"
        for measured in measures:
            yield _measure_row(measured)
        yield ""


def _shared(words: Iterable[str]) -> str:
    """What all have in common; empty when they differ."""
    different = set(words)
    return different.pop() if len(different) == 1 else ""


def _row(scenario: Scenario, *, own: bool, threads: bool, needs: bool) -> str:
    """A row of the table; with what is not said above it for all."""
    name = f"`{scenario.name}`"
    if scenario.cases:
        name += f" [{', '.join(scenario.cases)}]"
    shows = [cell(scenario.title)]
    if scenario.control:
        shows.append(f"**Control**: must fail by {_listed(scenario.control)}.")
    if scenario.thorough:
        shows.append("Only with `--thorough`.")
    if own:
        shows.append(f"On {scenario.topology}.")
    if needs and scenario.needs:
        shows.append(f"Needs {', '.join(scenario.needs)}.")
    if scenario.known_bugs:
        shows.append(f"Known bug: {_linked('; '.join(scenario.known_bugs))}.")
    if threads and scenario.threads:
        shows.append(f"Upstream: {_linked(', '.join(scenario.threads))}.")
    return f"| {name} | {' '.join(shows)} |"


def _merged(scenarios: list[Scenario]) -> list[Measured]:
    """All measures of a file's scenarios, each once; controls are held against the same."""
    found: dict[str, Measured] = {}
    for scenario in scenarios:
        for measured in scenario.measures:
            found.setdefault(measured.name, Measured(measured.name, measured.unit)).add(measured)
    return list(found.values())


def _measure_row(measured: Measured) -> str:
    bounds = " or ".join(_in_words(bound) for bound in measured.bounds) or "on record only"
    sources = _linked(cell("; ".join(measured.sources)))
    return f"| {cell(measured.name)} | {measured.unit} | {cell(bounds)} | {sources} |"


def _in_words(bound: str) -> str:
    sign, _, limit = bound.partition(" ")
    words = {"<=": "at most", ">=": "at least", "=": "exactly"}[sign]
    return f"{words} {limit if limit[:1].isdigit() else f'`{limit}`'}"


def _listed(names: list[str]) -> str:
    return ", ".join(f"“{cell(name)}”" for name in names)


def _linked(text: str) -> str:
    """Threads as links."""
    return _THREAD.sub(r"[\g<0>](https://github.com/\1/issues/\2)", text)
