"""The running trials of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.report.site_model import unfinished
from harness.results import Damaged, Run, StoredTrial

IDLE_LIMIT = 180.0
"""Seconds without a change after which a trial without a record counts as interrupted.

A trial in a virtual machine hands its files over at the end, so nothing changes in between."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has no record yet; ``idle`` is in seconds since a file of it changed."""

    trial: StoredTrial
    idle: float


def running_trials(run: Run, *, now: float | None = None) -> tuple[RunningTrial, ...]:
    """Return the running trials of a run, the one that changed last first."""
    now = time.time() if now is None else now
    found = []
    for damaged in run.damaged:
        idle = now - last_change(damaged.path)
        if (damaged.path / "trial.json").exists() or idle > IDLE_LIMIT:
            continue
        if (trial := unfinished(damaged)) is not None:
            found.append(RunningTrial(_as_running(trial, damaged), max(0.0, idle)))
    return tuple(sorted(found, key=lambda u: u.idle))


def last_change(folder: Path) -> float:
    """When a file in ``folder`` last changed (seconds since the epoch), 0 if there is none."""
    times = [0.0]
    for path in folder.rglob("*"):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue  # removed meanwhile
    return max(times)


def _as_running(trial: StoredTrial, damaged: Damaged) -> StoredTrial:
    record = msgspec.structs.replace(trial.record, reason="")
    return StoredTrial(damaged.path, record)
