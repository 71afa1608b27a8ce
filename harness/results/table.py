"""Measures as a CSV table: a row per trial, or per engine."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from harness.results.comparable import FAILED, Group, Setting, group_trials
from harness.results.comparison_sides import Side
from harness.results.run import Run, StoredTrial
from harness.results.versions import by_version


class TrialRow(NamedTuple):
    """One measure of one trial. ``limit`` is "<= 45" or the like, "" if it has none."""

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
    censored: bool
    limit: str


class EngineRow(NamedTuple):
    """One measure over the trials of an engine.

    ``censored`` counts the trials in which observation ended first, so that the true value is
    larger; ``broken`` those in which the measure exceeded its limit.
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
    min: float
    median: float
    max: float
    censored: int
    broken: int


def trial_rows(runs: Sequence[Run]) -> list[TrialRow]:
    """Return a row for every measure of every trial, in the runs' own order."""
    return [row for run in runs for trial in run.trials for row in _trial_rows_of(run, trial)]


def engine_rows(runs: Sequence[Run]) -> list[EngineRow]:
    """Return a row for every measure of every scenario and engine, engines by version.

    The trials are those that a comparison uses: no controls, no doubtful trials, none twice.
    """
    trials = tuple(trial for run in runs for trial in run.trials)
    groups = group_trials(Side("", trials), [], by_engine=True)
    order = sorted(groups, key=lambda s: (s.scenario, by_version(s.engine), s[2:]))
    return [row for setting in order for row in _engine_rows_of(setting, groups[setting])]


def as_csv(header: Sequence[str], rows: Iterable[tuple[object, ...]]) -> str:
    """Return rows as CSV below a header line; None becomes an empty cell."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(header)
    for row in rows:
        out.writerow(map(_cell, row))
    return text.getvalue()


def _trial_rows_of(run: Run, trial: StoredTrial) -> Iterator[TrialRow]:
    given = trial.record.inputs
    for m in trial.record.measures:
        yield TrialRow(
            run.record.id,
            trial.id,
            given.scenario,
            given.control,
            given.engine.version,
            given.topology,
            given.lab,
            given.clock,
            _option_text(given.options),
            given.seed,
            trial.record.verdict,
            m.name,
            m.unit,
            m.value,
            m.censored,
            "" if m.bound is None else f"{m.bound.op} {m.bound.limit:.12g}",
        )


def _engine_rows_of(setting: Setting, trials: Group) -> Iterator[EngineRow]:
    for name, taken in trials.measures.items():
        values = [m.value for m in taken if m.value is not None]
        if name == FAILED or not values:
            continue
        yield EngineRow(
            *setting[:5],
            _option_text(dict(setting.options)),
            name,
            taken[0].unit,
            len(values),
            min(values),
            median(values),
            max(values),
            sum(m.censored for m in taken),
            sum(m.ok is False for m in taken),
        )


def _option_text(options: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(options.items()))


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else value
