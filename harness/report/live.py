"""What can be shown of a run while it is under way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.report.site_model import unfinished
from harness.results import Damaged, Run, StoredTrial

QUIET = 180.0
"""Seconds without a sign of life after which a trial without a record counts as cut short.

A guest of the microVM lab hands its files over when it is done, so it shows none in between."""


@dataclass(frozen=True)
class Underway:
    """A trial that has begun and has no record yet; ``quiet`` seconds since its last sign."""

    trial: StoredTrial
    quiet: float


def underway(run: Run, *, now: float | None = None) -> tuple[Underway, ...]:
    """The trials of a run that are going on now, the one that moved last first."""
    now = time.time() if now is None else now
    found = []
    for damaged in run.damaged:
        quiet = now - last_sign(damaged.path)
        if (damaged.path / "trial.json").exists() or quiet > QUIET:
            continue
        if (trial := unfinished(damaged)) is not None:
            found.append(Underway(_as_running(trial, damaged), max(0.0, quiet)))
    return tuple(sorted(found, key=lambda u: u.quiet))


def last_sign(folder: Path) -> float:
    """When a file in ``folder`` last changed (seconds since the epoch), 0 if there is none."""
    times = [0.0]
    for path in folder.rglob("*"):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue  # it went while we looked
    return max(times)


def _as_running(trial: StoredTrial, damaged: Damaged) -> StoredTrial:
    record = msgspec.structs.replace(trial.record, reason="")
    return StoredTrial(damaged.path, record)
