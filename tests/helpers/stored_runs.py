"""Runs on disk made of chosen values, for the tests of what compares and carries them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from harness.results import Run, RunWriter, read_run
from harness.trial import (
    Direction,
    EngineFacts,
    Expectation,
    Observation,
    Trial,
    TrialClock,
    TrialInputs,
)
from harness.wait import Elapsed

SCENARIO = "scenarios/test_manager_failover.py::test_leader_killed[node]"
STARTED = datetime(2026, 11, 1, tzinfo=UTC)


def given(version: str = "28.5.2", **changes: Any) -> TrialInputs:
    """Inputs of a trial; keywords are fields of it."""
    facts = EngineFacts(name=version, version=version, source="made up", digest="0" * 64)
    made = TrialInputs(
        scenario=SCENARIO, engine=facts, topology="3m2w", lab="namespaces", kernel="6.12",
        clock="real", seed=1,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def store_trial(
    writer: RunWriter,
    inputs: TrialInputs,
    measures: Mapping[str, float | Elapsed | None],
    *,
    unit: str = "s",
    limit: float | None = None,
    better: Direction = "lower",
    doubt: str = "",
) -> Path:
    """A finished trial with these measures; every file in it is the same for the same values."""
    # The wall clock is on record; in virtual time it would be the guest's, and the same.
    with mock.patch("time.time", return_value=0.0):
        trial = Trial(writer.trial_folder(inputs), inputs, clock=TrialClock(0.0, lambda: 0.0))
    for name, value in measures.items():
        what: Expectation | Observation = Observation(name, unit, better)
        if limit is not None:
            what = Expectation(name, unit, at_most=limit)
        trial.measures(what, value)
    if doubt:
        trial.doubt(doubt)
    trial.finish(None, title="a leader is killed")
    return trial.folder


def store_run(
    root: Path,
    values: Any = (),
    *,
    day: int = 1,
    measure: str = "time to a new leader",
    version: str = "28.5.2",
    inputs: Mapping[str, object] | None = None,
    **settings: Any,
) -> Run:
    """A run of one trial a value, with seeds counting up."""
    writer = RunWriter.create(
        root, command=["pytest", "scenarios/"], harness="0.1", started=STARTED.replace(day=day)
    )
    for seed, value in enumerate(values, start=1):
        store_trial(
            writer, given(version, seed=seed, **(inputs or {})), {measure: value}, **settings
        )
    return read_run(writer.folder)
