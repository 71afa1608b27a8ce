"""Measures as a table for spreadsheets: of every trial, or of each engine's trials together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from harness.results.comparable import FAILED, Group, Setting, group
from harness.results.comparison_sides import Side
from harness.results.run import Run, StoredTrial
from harness.results.versions import by_version


class OfTrial(NamedTuple):
    """One measure of one trial. ``limit``: its bound, in words; "" if it has none."""

    run: str
    trial: str
    scenario: str
    control: bool
    engine: str
    topology: str
    lab: str
    clock: str
    options: str
    seed: int
    verdict: str
    measure: str
    unit: str
    value: float | None
    longer: bool
    limit: str


class OfEngine(NamedTuple):
    """One measure over the trials of an engine.

    ``longer``: in how many the watching ended first, so that the true value is larger;
    ``failed``: in how many it was out of its bound.
    """

    scenario: str
    engine: str
    topology: str
    lab: str
    clock: str
    options: str
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

    Counted is what a comparison counts: no controls, no trials in doubt, none twice.
    """
    trials = tuple(trial for run in runs for trial in run.trials)
    groups = group(Side("", trials), named=True, left_out=[])
    order = sorted(groups, key=lambda s: (s.scenario, by_version(s.engine), s[2:]))
    return [row for setting in order for row in _over(setting, groups[setting])]


def as_csv(heads: Sequence[str], rows: Iterable[tuple[object, ...]]) -> str:
    """Rows as CSV below a line of heads; what is unknown is empty."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(heads)
    for row in rows:
        out.writerow(map(_cell, row))
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
            _words(given.options),
            given.seed,
            trial.record.verdict,
            m.name,
            m.unit,
            m.value,
            m.censored,
            "" if m.bound is None else f"{m.bound.op} {m.bound.limit:.12g}",
        )


def _over(setting: Setting, trials: Group) -> Iterator[OfEngine]:
    for name, taken in trials.measures.items():
        values = [m.value for m in taken if m.value is not None]
        if name == FAILED or not values:
            continue
        yield OfEngine(
            *setting[:5],
            _words(dict(setting.options)),
            name,
            taken[0].unit,
            len(values),
            min(values),
            median(values),
            max(values),
            sum(m.censored for m in taken),
            sum(m.ok is False for m in taken),
        )


def _words(options: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(options.items()))


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else value
