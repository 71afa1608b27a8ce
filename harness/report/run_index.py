"""The index of all runs in a folder: the first page of ``swarm-chaos serve``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.report.live import IDLE_LIMIT, last_change
from harness.report.overview import distinct, headline_of, outcome_of
from harness.results import Run, list_runs, read_run

_MOST_RUNS = 200


@dataclass(frozen=True)
class RunIndexEntry:
    """A run in the index; ``sentence`` says why one cannot be read."""

    id: str
    started: str
    headline: str
    tones: dict[str, int]
    engines: str
    command: str
    live: bool
    sentence: str = ""


def run_index(reports: Path, *, now: float) -> list[RunIndexEntry]:
    """Return the latest runs under ``reports``, the newest first; ``now`` is in epoch seconds."""
    return [_entry(folder, now) for folder in reversed(list_runs(reports)[-_MOST_RUNS:])]


def _entry(folder: Path, now: float) -> RunIndexEntry:
    try:
        run = read_run(folder)
    except (HarnessError, OSError, msgspec.MsgspecError) as error:
        return RunIndexEntry(folder.name, "", "cannot be read", {}, "", "", False, str(error))
    tones = [outcome_of(t).tone for t in run.trials]
    running = sum(
        not (d.path / "trial.json").exists() and now - last_change(d.path) <= IDLE_LIMIT
        for d in run.damaged
        if d.path.is_dir()
    )
    return RunIndexEntry(
        folder.name,
        run.record.started,
        _headline(run, running),
        {tone: tones.count(tone) for tone in ("good", "bad", "unknown")},
        distinct(t.record.inputs.engine.version for t in run.trials),
        " ".join(run.record.command),
        bool(running),
    )


def _headline(run: Run, running: int) -> str:
    """Return how the run ended, or how far it is: a running trial is not a damaged one."""
    damaged = len(run.damaged) - running
    if not running:
        return headline_of(run.trials, damaged)
    finished = [headline_of(run.trials, damaged)] if run.trials or damaged else []
    return ", ".join(["running", *finished])
