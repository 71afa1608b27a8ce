"""Measures as a table for spreadsheets: of every trial, or of each engine's trials together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from statistics import median_high
from typing import TypeVar

from harness.results.likes import is_believed
from harness.results.run import Run, StoredTrial
from harness.results.versions import by_version

T = TypeVar("T")


@dataclass(frozen=True)
class OfTrial:
    """One measure of one trial. ``limit``: its bound, in words; "" if it has none."""

    run: str
    trial: str
    scenario: str
    control: bool
    engine: str
    topology: str
    lab: str
    clock: str
    seed: int
    verdict: str
    measure: str
    unit: str
    value: float | None
    longer: bool
    limit: str


@dataclass(frozen=True)
class OfEngine:
    """One measure over the trials of an engine.

    ``longer``: in how many the watching ended first, so that the true value is larger;
    ``failed``: in how many it was out of its bound.
    """

    scenario: str
    engine: str
    topology: str
    lab: str
    clock: str
    measure: str
    unit: str
    trials: int
    least: float
    median: float
    most: float
    longer: int
    failed: int


def of_trials(runs: Sequence[Run]) -> list[OfTrial]:
    """A row for every measure of every trial, in the runs' own order."""
    return [row for run in runs for trial in run.trials for row in _of_trial(run, trial)]


def of_engines(runs: Sequence[Run]) -> list[OfEngine]:
    """A row for every measure of every scenario and engine, engines by their version.

    Counted are trials that are believed: no controls, none in doubt. Of an even number of values
    the median is the larger one in the middle, so that it is one that was measured.
    """
    found: dict[tuple[str, str, str, str, str, str, str], list[tuple[float, bool, bool]]] = {}
    for run in runs:
        for trial in run.trials:
            given = trial.record.inputs
            if given.control or not is_believed(trial.record):
                continue
            place = (given.scenario, given.engine.version, given.topology, given.lab, given.clock)
            for m in trial.record.measures:
                if m.value is not None:
                    told = found.setdefault((*place, m.name, m.unit), [])
                    told.append((m.value, m.censored, m.ok is False))
    order = {key: number for number, key in enumerate(found)}  # measures as a scenario takes them
    keys = sorted(found, key=lambda k: (k[0], by_version(k[1]), k[2:5], order[k]))
    return [_over(key, found[key]) for key in keys]


def as_csv(kind: type[T], rows: Iterable[T]) -> str:
    """Rows of one kind as CSV, a line of heads first; what is unknown is empty."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(field.name for field in fields(kind))  # type: ignore[arg-type]
    for row in rows:
        out.writerow(_cell(value) for value in astuple(row))  # type: ignore[call-overload]
    return text.getvalue()


def _of_trial(run: Run, trial: StoredTrial) -> Iterator[OfTrial]:
    given = trial.record.inputs
    for m in trial.record.measures:
        yield OfTrial(
            run.record.id,
            trial.id,
            given.scenario,
            given.control,
            given.engine.version,
            given.topology,
            given.lab,
            given.clock,
            given.seed,
            trial.record.verdict,
            m.name,
            m.unit,
            m.value,
            m.censored,
            "" if m.bound is None else f"{m.bound.op} {m.bound.limit:.12g}",
        )


def _over(
    key: tuple[str, str, str, str, str, str, str], told: Sequence[tuple[float, bool, bool]]
) -> OfEngine:
    values = sorted(value for value, _, _ in told)
    return OfEngine(
        *key,
        len(values),
        values[0],
        median_high(values),
        values[-1],
        sum(longer for _, longer, _ in told),
        sum(failed for _, _, failed in told),
    )


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else value
