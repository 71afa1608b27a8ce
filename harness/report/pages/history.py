"""The history page: every measure from run to run, by engine, and where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.figures import Figure, trend_figure
from harness.report.figures.trend import Step
from harness.report.formatting import SIGNS, quantity
from harness.report.overview import Outcome, outcome_of, parameters_of, title_of
from harness.report.pages.page_frame import PageFrame, render
from harness.report.site_model import Entry, Scenario, SiteModel
from harness.results.history import ChangePoint, Series, history_of
from harness.results.statistics.changes import LEAST
from harness.results.versions import by_version
from harness.trial import Measure


@dataclass(frozen=True)
class Trend:
    """One measure of one scenario over the runs, a line for each requested engine.

    ``where`` is the rest of the setting: topology, lab, clock.
    """

    scenario: Scenario
    title: str
    where: str
    name: str
    figure: Figure
    changes: tuple[str, ...]
    summary: str


@dataclass(frozen=True)
class Line:
    """The outcomes of a scenario on one engine, run by run."""

    title: str
    parameters: str
    page: str
    engine: str
    outcomes: tuple[Outcome | None, ...]


def history_page(model: SiteModel, frame: PageFrame) -> str:
    """Return the page as text."""
    grouped: dict[tuple[str, str, str, str, str], list[Series]] = {}
    for series in history_of(model.runs):
        key = (series.scenario, series.topology, series.lab, series.clock, series.measure)
        grouped.setdefault(key, []).append(series)
    scenarios = {s.scenario: s for s in model.scenarios if not s.control}
    trends = [_trend(scenarios[key[0]], of_it) for key, of_it in grouped.items()]
    return render(
        "history.html.j2",
        frame,
        model,
        {
            "trends": sorted(trends, key=lambda t: not t.changes),
            "changed": sum(bool(t.changes) for t in trends),
            "lines": [line for s in model.scenarios for line in _lines(model, s)],
            "least": 2 * LEAST,
        },
    )


def _lines(model: SiteModel, scenario: Scenario) -> list[Line]:
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
                tuple(_worst(by_run.get(str(run.folder), [])) for run in model.runs),
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
    return sorted(grouped.items(), key=lambda g: by_version(g[0]))


def _trend(scenario: Scenario, of_it: Sequence[Series]) -> Trend:
    first = of_it[0]
    measures = [
        m for e in scenario.entries for m in e.trial.record.measures if m.name == first.measure
    ]
    like = measures[0]
    limits = dict.fromkeys((m.bound.limit, SIGNS[m.bound.op]) for m in measures if m.bound)
    ordered = sorted(of_it, key=lambda s: by_version(s.engine))
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
        changes=tuple(_change_text(s, c, like) for s in ordered for c in s.changes),
        summary=_summary(ordered, like),
    )


def _places(ordered: Sequence[Series]) -> list[tuple[str, str]]:
    """Return the runs at which any engine changed, with those engines."""
    engines: dict[str, list[str]] = {}
    for series in ordered:
        for change in series.changes:
            engines.setdefault(change.run, []).append(series.engine)
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


def _change_text(series: Series, change: ChangePoint, like: Measure) -> str:
    engines = (
        f", engine {change.engine_before} before, {change.engine} after"
        if change.engine != change.engine_before
        else ""
    )
    return (
        f"{series.engine} {change.outcome} from run {change.run} on: "
        f"{quantity(change.after, like)} after "
        f"{quantity(change.before, like)} (p = {change.p:.2g}{engines})"
    )


def _summary(ordered: Sequence[Series], like: Measure) -> str:
    parts = [
        f"{s.engine}: {len(s.points)} runs, first {quantity(s.points[0].value, like)}, "
        f"last {quantity(s.points[-1].value, like)}"
        for s in ordered
    ]
    return f"Medians by run. {'; '.join(parts)}."
