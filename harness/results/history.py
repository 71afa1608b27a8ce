"""Measures over many runs, night after night, and the runs at which they changed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import msgspec

from harness.results.run import Run, StoredTrial
from harness.results.statistics.changes import ALPHA, LEAST
from harness.results.statistics.changes import changes as find_changes
from harness.results.thresholds import Thresholds, rule_for
from harness.results.usable import is_usable
from harness.trial import Direction, Measure
from harness.trial.oracles import of_the_scenario


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The median of one run's trials. ``engine`` is the version that ran."""

    run: str
    started: str
    engine: str
    value: float
    trials: int
    censored: int


class ChangePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A change: ``run`` is the first of the new level; ``before`` and ``after`` are medians.

    ``outcome`` is regressed, improved or different (the measure has no better direction).
    """

    run: str
    engine_before: str
    engine: str
    before: float
    after: float
    p: float
    outcome: str


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one scenario over the runs; ``engine`` is the name that was requested.

    ``enough_runs``: whether the series is long enough to detect a change.
    """

    scenario: str
    engine: str
    topology: str
    lab: str
    clock: str
    measure: str
    unit: str
    better: Direction
    points: tuple[Point, ...]
    changes: tuple[ChangePoint, ...]
    enough_runs: bool


class _Key(NamedTuple):
    scenario: str
    engine: str
    topology: str
    lab: str
    clock: str
    options: tuple[tuple[str, str], ...]
    measure: str
    unit: str


def history_of(
    runs: Sequence[Run], thresholds: Thresholds | None = None, *, alpha: float = ALPHA
) -> tuple[Series, ...]:
    """Return the series of all measures over ``runs``, from the oldest run to the newest.

    Controls and doubtful trials are left out; virtual and real time are separate series. A
    change is reported in at most a share ``alpha`` of the series in which nothing changes.
    """
    settings = thresholds or Thresholds()
    points: dict[_Key, list[Point]] = {}
    better: dict[_Key, Direction] = {}
    for run in sorted(runs, key=lambda run: (run.record.started, run.record.id)):
        for key, taken in _of_run(run).items():
            points.setdefault(key, []).append(_point(run, taken))
            better[key] = taken[-1][1].better
    return tuple(
        found
        for key, row in points.items()
        if (found := _series(key, row, better[key], settings, alpha)) is not None
    )


def _of_run(run: Run) -> dict[_Key, list[tuple[StoredTrial, Measure]]]:
    taken: dict[_Key, list[tuple[StoredTrial, Measure]]] = {}
    for trial in run.trials:
        given = trial.record.inputs
        if given.control or not is_usable(trial.record):
            continue
        options = tuple(sorted(given.options.items()))
        for measure in of_the_scenario(trial.record.measures):
            if measure.value is not None:
                key = _Key(
                    given.scenario,
                    given.engine.name,
                    given.topology,
                    given.lab,
                    given.clock,
                    options,
                    measure.name,
                    measure.unit,
                )
                taken.setdefault(key, []).append((trial, measure))
    return taken


def _point(run: Run, taken: Sequence[tuple[StoredTrial, Measure]]) -> Point:
    versions = sorted({trial.record.inputs.engine.version for trial, _ in taken})
    return Point(
        run=run.record.id,
        started=run.record.started,
        engine=", ".join(versions),
        value=median(measure.value for _, measure in taken if measure.value is not None),
        trials=len(taken),
        censored=sum(measure.censored for _, measure in taken),
    )


def _series(
    key: _Key, points: Sequence[Point], better: Direction, settings: Thresholds, alpha: float
) -> Series | None:
    rule = rule_for(settings, key.measure, key.unit, better)
    if rule.ignore:
        return None
    values = [point.value for point in points]
    return Series(
        scenario=key.scenario,
        engine=key.engine,
        topology=key.topology,
        lab=key.lab,
        clock=key.clock,
        measure=key.measure,
        unit=key.unit,
        better=rule.better,
        points=tuple(points),
        changes=tuple(
            ChangePoint(
                run=points[change.at].run,
                engine_before=points[change.at - 1].engine,
                engine=points[change.at].engine,
                before=change.before,
                after=change.after,
                p=change.p,
                outcome=_outcome(change.shift, rule.better),
            )
            for change in find_changes(values, alpha=alpha, floor=rule.floor(median(values)))
        ),
        enough_runs=len(values) >= 2 * LEAST,
    )


def _outcome(shift: float, better: Direction) -> str:
    if better == "none":
        return "different"
    return "regressed" if (shift > 0) == (better == "lower") else "improved"
