"""The page of a scenario: what is expected and why, how it came out by engine, every trial."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from harness.report.figures import Figure, spread_figure
from harness.report.figures.spread import Point
from harness.report.formatting import SIGNS, quantity, standing_of, value_of
from harness.report.overview import headline_of, outcome_of, title_of
from harness.report.pages.page_frame import PageFrame, render
from harness.report.sanitize import plain
from harness.report.site_model import Entry, Scenario, SiteModel
from harness.results.versions import by_version
from harness.trial import Bound, Measure, limit_text

_KINDS = {"holds": "good", "broken": "bad"}


@dataclass(frozen=True)
class Expectation:
    """A bound of a measure, and how many trials kept it; ``source`` explains the number."""

    measure: str
    bound: str
    source: str
    kept: int
    broken: int
    undecided: int


@dataclass(frozen=True)
class Group:
    """One engine's values of a measure in numbers."""

    engine: str
    count: int
    least: str
    middle: str
    greatest: str
    broken: int
    missing: int


@dataclass(frozen=True)
class Spread:
    """One measure over all trials: its chart, and the same in a table."""

    name: str
    better: str
    figure: Figure | None
    groups: tuple[Group, ...]
    summary: str


def scenario_page(model: SiteModel, scenario: Scenario, frame: PageFrame) -> str:
    """Return the page as text."""
    first = scenario.entries[0].trial
    about = next((e.trial.record.about for e in scenario.entries if e.trial.record.about), "")
    threads = dict.fromkeys(t for e in scenario.entries for t in e.trial.record.upstream)
    return render(
        "scenario.html.j2",
        frame,
        model,
        {
            "scenario": scenario,
            "title": title_of(first),
            "headline": headline_of([e.trial for e in scenario.entries]),
            "paragraphs": _paragraphs(about),
            "threads": list(threads),
            "must_break": first.record.must_break,
            "expectations": _expectations(scenario.entries),
            "spreads": [_spread(name, scenario.entries) for name in _measures(scenario.entries)],
            "rows": [{"entry": e, "outcome": outcome_of(e.trial)} for e in scenario.entries],
        },
    )


def _paragraphs(about: str) -> list[str]:
    return [part for part in inspect.cleandoc(plain(about)).split("\n\n") if part.strip()]


def _measures(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(m.name for e in entries for m in e.trial.record.measures))


def _taken(name: str, entries: Iterable[Entry]) -> list[tuple[Entry, Measure]]:
    return [(e, m) for e in entries for m in e.trial.record.measures if m.name == name]


def _expectations(entries: Sequence[Entry]) -> list[Expectation]:
    held: dict[tuple[str, Bound], list[Measure]] = {}
    for entry in entries:
        for measure in entry.trial.record.measures:
            if measure.bound is not None:
                held.setdefault((measure.name, measure.bound), []).append(measure)
    return [
        Expectation(
            name,
            limit_text(bound, measures[0].unit),
            bound.source,
            sum(m.ok is True for m in measures),
            sum(m.ok is False for m in measures),
            sum(m.ok is None for m in measures),
        )
        for (name, bound), measures in held.items()
    ]


def _spread(name: str, entries: Sequence[Entry]) -> Spread:
    taken = _taken(name, entries)
    like = taken[0][1]
    engines = sorted({e.trial.record.inputs.engine.version for e, _ in taken}, key=by_version)
    groups = []
    drawn = []
    for engine in engines:
        of_it = [(e, m) for e, m in taken if e.trial.record.inputs.engine.version == engine]
        drawn.append((engine, [_point(e, m) for e, m in of_it if m.value is not None]))
        groups.append(_group(engine, [m for _, m in of_it]))
    limits = dict.fromkeys(
        (m.bound.limit, SIGNS[m.bound.op]) for _, m in taken if m.bound is not None
    )
    figure = None
    if any(points for _, points in drawn):
        figure = spread_figure(drawn, unit=like.unit, limits=list(limits))
    return Spread(name, like.better, figure, tuple(groups), _summary(name, groups))


def _point(entry: Entry, measure: Measure) -> Point:
    given = entry.trial.record.inputs
    kind = _KINDS.get(standing_of(measure), "unknown")
    text = f"{value_of(measure)}, engine {given.engine.version}, seed {given.seed}"
    assert measure.value is not None
    return Point(measure.value, kind, measure.censored, text, entry.page)


def _group(engine: str, measures: Sequence[Measure]) -> Group:
    values = [m.value for m in measures if m.value is not None]
    like = measures[0]
    longer = "more than " if any(m.censored for m in measures) else ""
    return Group(
        engine,
        len(values),
        quantity(min(values), like) if values else "",
        longer + quantity(median(values), like) if values else "",
        longer + quantity(max(values), like) if values else "",
        sum(m.ok is False for m in measures),
        len(measures) - len(values),
    )


def _summary(name: str, groups: Sequence[Group]) -> str:
    parts = [
        f"{g.engine}: median {g.middle} of {g.count}, {g.least} to {g.greatest}"
        + (f", bound broken in {g.broken}" if g.broken else "")
        for g in groups
        if g.count
    ]
    return f"{name} by engine. {'; '.join(parts)}." if parts else f"{name} was not measured."
