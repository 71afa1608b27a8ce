"""All runs of a folder, as the first page of ``swarm-chaos serve``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.report.live import QUIET, last_sign
from harness.report.overview import distinct, headline_of, outcome_of
from harness.results import list_runs, read_run

_MOST_RUNS = 200


@dataclass(frozen=True)
class Shelf:
    """A run in a few words; ``sentence`` says what is wrong with one that cannot be read."""

    id: str
    started: str
    headline: str
    tones: dict[str, int]
    engines: str
    command: str
    live: bool
    sentence: str = ""


def shelves(reports: Path, *, now: float) -> list[Shelf]:
    """The runs under ``reports``, the youngest first, at most so many as can be looked over."""
    return [_shelf(folder, now) for folder in reversed(list_runs(reports)[-_MOST_RUNS:])]


def _shelf(folder: Path, now: float) -> Shelf:
    try:
        run = read_run(folder)
    except (HarnessError, OSError, msgspec.MsgspecError) as error:
        return Shelf(folder.name, "", "cannot be read", {}, "", "", False, str(error))
    tones = [outcome_of(t).tone for t in run.trials]
    live = any(
        not (d.path / "trial.json").exists() and now - last_sign(d.path) <= QUIET
        for d in run.damaged
        if d.path.is_dir()
    )
    return Shelf(
        folder.name,
        run.record.started,
        headline_of(run.trials, len(run.damaged)),
        {tone: tones.count(tone) for tone in ("good", "bad", "unknown")},
        distinct(t.record.inputs.engine.version for t in run.trials),
        " ".join(run.record.command),
        live,
    )
