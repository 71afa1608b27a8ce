"""The history: every measure from run to run, by engine, and from which run on it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.figures import Figure, trend_figure
from harness.report.figures.trend import Step
from harness.report.formatting import SIGNS, quantity
from harness.report.overview import Outcome, outcome_of, parameters_of, title_of, version_key
from harness.report.pages.page_frame import Place, render
from harness.report.site_model import Entry, Found, Scenario
from harness.results.history import Series, Turn, history_of
from harness.results.statistics.changes import LEAST
from harness.trial import Measure


@dataclass(frozen=True)
class Trend:
    """One measure of one scenario over the runs, a line for each engine that was asked for.

    ``where`` is the rest of what has to be equal: topology, lab, clock.
    """

    scenario: Scenario
    title: str
    where: str
    name: str
    figure: Figure
    turns: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Line:
    """How a scenario came out, run by run, on one engine."""

    title: str
    parameters: str
    page: str
    engine: str
    outcomes: tuple[Outcome | None, ...]


def history_page(found: Found, place: Place) -> str:
    """The page as text."""
    grouped: dict[tuple[str, str, str, str, str], list[Series]] = {}
    for series in history_of(found.runs):
        key = (series.scenario, series.topology, series.lab, series.clock, series.measure)
        grouped.setdefault(key, []).append(series)
    scenarios = {s.scenario: s for s in found.scenarios if not s.control}
    trends = [_trend(scenarios[key[0]], of_it) for key, of_it in grouped.items()]
    return render(
        "history.html.j2",
        place,
        found,
        {
            "trends": sorted(trends, key=lambda t: not t.turns),
            "turned": sum(bool(t.turns) for t in trends),
            "lines": [line for s in found.scenarios for line in _lines(found, s)],
            "least": 2 * LEAST,
        },
    )


def _lines(found: Found, scenario: Scenario) -> list[Line]:
    made = []
    for engine, entries in _by_engine(scenario.entries):
        by_run: dict[str, list[Outcome]] = {}
        for entry in entries:
            by_run.setdefault(str(entry.run.folder), []).append(outcome_of(entry.trial))
        made.append(
            Line(
                title_of(scenario.entries[0].trial),
                parameters_of(scenario.scenario),
                scenario.page,
                engine,
                tuple(_worst(by_run.get(str(run.folder), [])) for run in found.runs),
            )
        )
    return made


def _worst(outcomes: Sequence[Outcome]) -> Outcome | None:
    order = ("bad", "unknown", "good")
    return min(outcomes, key=lambda o: order.index(o.tone), default=None)


def _by_engine(entries: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    grouped: dict[str, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.trial.record.inputs.engine.version, []).append(entry)
    return sorted(grouped.items(), key=lambda g: version_key(g[0]))


def _trend(scenario: Scenario, of_it: Sequence[Series]) -> Trend:
    first = of_it[0]
    measures = [
        m for e in scenario.entries for m in e.trial.record.measures if m.name == first.measure
    ]
    like = measures[0]
    limits = dict.fromkeys((m.bound.limit, SIGNS[m.bound.op]) for m in measures if m.bound)
    ordered = sorted(of_it, key=lambda s: version_key(s.engine))
    figure = trend_figure(
        [(s.engine, [_step(s, n, scenario) for n in range(len(s.points))]) for s in ordered],
        unit=first.unit,
        limits=list(limits),
        changes=_places(ordered),
    )
    return Trend(
        scenario=scenario,
        title=title_of(scenario.entries[0].trial),
        where=f"{first.topology}, {first.lab}, {first.clock} time",
        name=first.measure,
        figure=figure,
        turns=tuple(_turn(s, t, like) for s in ordered for t in s.turns),
        words=_words(ordered, like),
    )


def _places(ordered: Sequence[Series]) -> list[tuple[str, str]]:
    """The runs at which anything changed, each once, with the engines that did."""
    engines: dict[str, list[str]] = {}
    for series in ordered:
        for turn in series.turns:
            engines.setdefault(turn.run, []).append(series.engine)
    return [(run, ", ".join(names)) for run, names in engines.items()]


def _step(series: Series, number: int, scenario: Scenario) -> Step:
    point = series.points[number]
    values = [
        m.value
        for e in scenario.entries
        if e.run.record.id == point.run and e.trial.record.inputs.engine.name == series.engine
        for m in e.trial.record.measures
        if m.name == series.measure and m.value is not None
    ]
    low, high = min([*values, point.value]), max([*values, point.value])
    version = "" if point.engine == series.engine else f" ({point.engine})"
    return Step(
        point.run, point.started or point.run, point.value, low, high, point.trials, version
    )


def _turn(series: Series, turn: Turn, like: Measure) -> str:
    engines = (
        f", engine {turn.engine_before} before, {turn.engine} after"
        if turn.engine != turn.engine_before
        else ""
    )
    return (
        f"{series.engine} {turn.word} from run {turn.run} on: {quantity(turn.after, like)} instead "
        f"of {quantity(turn.before, like)} (p = {turn.p:.2g}{engines})"
    )


def _words(ordered: Sequence[Series], like: Measure) -> str:
    parts = [
        f"{s.engine}: {len(s.points)} runs, first {quantity(s.points[0].value, like)}, "
        f"last {quantity(s.points[-1].value, like)}"
        for s in ordered
    ]
    return f"Medians by run. {'; '.join(parts)}."
