"""A measure over many runs, night after night, and from which run on it is another."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import msgspec

from harness.results.comparable import is_believed
from harness.results.run import Run, StoredTrial
from harness.results.statistics.changes import ALPHA, LEAST, changes
from harness.results.thresholds import Thresholds, rule_for
from harness.trial import Direction, Measure


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run's figure: the median of its trials. ``engine`` is the version that ran."""

    run: str
    started: str
    engine: str
    value: float
    trials: int
    censored: int


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A change point: ``run`` is the first of the new state; medians before and after.

    ``word`` is regressed, improved or different (the measure has no better direction).
    """

    run: str
    engine_before: str
    engine: str
    before: float
    after: float
    p: float
    word: str


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one scenario over the runs; ``engine`` is the name that was asked for.

    ``enough``: whether the series is long enough for a change to be told at all.
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
    turns: tuple[Turn, ...]
    enough: bool


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
    """The series of all measures over ``runs``, from the oldest run to the youngest.

    Controls and trials in doubt are left out; virtual and real time are series of their
    own. Of 100 series in which nothing changes, at most 100 ``alpha`` are said to have changed.
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
        if given.control or not is_believed(trial.record):
            continue
        options = tuple(sorted(given.options.items()))
        for measure in trial.record.measures:
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
        turns=tuple(
            Turn(
                run=points[change.at].run,
                engine_before=points[change.at - 1].engine,
                engine=points[change.at].engine,
                before=change.before,
                after=change.after,
                p=change.p,
                word=_word(change.shift, rule.better),
            )
            for change in changes(values, alpha=alpha, floor=rule.floor(median(values)))
        ),
        enough=len(values) >= 2 * LEAST,
    )


def _word(shift: float, better: Direction) -> str:
    if better == "none":
        return "different"
    return "regressed" if (shift > 0) == (better == "lower") else "improved"
