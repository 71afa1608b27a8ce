"""``docs/scenarios.md``: every scenario, its measures and bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from harness.docgen.markdown import cell, filled, linked, plain
from harness.docgen.scenario import Scenario, StatedMeasure


def scenarios_page(scenarios: Iterable[Scenario]) -> str:
    """Return the page."""
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
        yield f"- upstream: {linked(threads)}"
    if needs := _shared(", ".join(each.needs) for each in scenarios):
        yield f"- needs {needs}"
    yield ""
    yield "| scenario | shows |"
    yield "|---|---|"
    for scenario in scenarios:
        yield _row(scenario, own=not topology, threads=not threads, needs=not needs)
    yield ""
    if measures := scenarios[0].measures:
        yield "| measure | unit | expected | source of the limit | broken by |"
        yield "|---|---|---|---|---|"
        for measure in measures:
            yield _measure_row(measure)
        yield ""


def _shared(texts: Iterable[str]) -> str:
    """Return what all have in common; empty when they differ."""
    different = set(texts)
    return different.pop() if len(different) == 1 else ""


def _row(scenario: Scenario, *, own: bool, threads: bool, needs: bool) -> str:
    """Return a row of the table; with what does not hold for the whole file."""
    name = f"`{scenario.name}`"
    if scenario.cases:
        name += f" [{', '.join(scenario.cases)}]"
    shows = [cell(scenario.title)]
    if scenario.is_control:
        shows.append(f"**Control**: must break {_listed(scenario.must_break)}.")
    if scenario.thorough:
        shows.append("Only with `--thorough`.")
    if own:
        shows.append(f"On {scenario.topology}.")
    if needs and scenario.needs:
        shows.append(f"Needs {', '.join(scenario.needs)}.")
    if scenario.known_bugs:
        shows.append(f"Known bug: {linked('; '.join(scenario.known_bugs))}.")
    if threads and scenario.threads:
        shows.append(f"Upstream: {linked(', '.join(scenario.threads))}.")
    return f"| {name} | {' '.join(shows)} |"


def _measure_row(measure: StatedMeasure) -> str:
    cells = (
        cell(measure.name),
        measure.unit,
        measure.expected or "recorded only",
        linked(cell(measure.source)),
        ", ".join(f"`{name}`" for name in measure.controls) or _reason(measure),
    )
    return f"| {' | '.join(cells)} |"


def _reason(measure: StatedMeasure) -> str:
    return f"no control: {linked(cell(measure.no_control))}" if measure.no_control else ""


def _listed(names: list[str]) -> str:
    return ", ".join(f"“{cell(name)}”" for name in names)
