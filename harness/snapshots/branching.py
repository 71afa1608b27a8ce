"""Coming back to a point of a recorded trial: its guest, kept at a checkpoint on the way."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness.errors import TrialError
from harness.guest.contract import CHECKPOINTS
from harness.images import Say
from harness.snapshots.job import GuestJob, send, sha256_of
from harness.trial import read_lines
from harness.vm.checkpoint import Checkpoint, find, made_once
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import Stopped


def point_before(trial: Path, seconds: float) -> str:
    """Return the name of a recorded trial's last checkpoint at or before a time of its clock.

    Raises :class:`TrialError` when there is none, naming the first.
    """
    names = points_of(trial)
    before = [name for name in names if float(name.partition(" ")[0]) <= seconds]
    if not before:
        first = f"the first is at {names[0]}" if names else "it has none"
        raise TrialError(
            f"{trial.name} passes no checkpoint up to {seconds:g} s: {first}",
            hint=f"checkpoints are where the journal has {', '.join(CHECKPOINTS)}",
        )
    return before[-1]


def points_of(trial: Path) -> list[str]:
    """Return the names of the checkpoints that a recorded trial has passed, in order."""
    return [
        f"{entry['t']:g} {entry['kind']}"
        for entry in read_lines(trial / "journal.jsonl")
        if entry["kind"] in CHECKPOINTS
    ]


def branch(
    job: GuestJob, snapshot: Snapshot, point: str, trial: Path, pool: Pool, say: Say
) -> Checkpoint:
    """Return a job's guest at one of its checkpoints: kept from before, or run up to there now.

    ``trial`` is the recorded one. Raises :class:`TrialError` if its guest does not come by there.
    """
    facts: dict[str, Any] = {
        "base": snapshot.key,
        "warm_up": job.warm_up,
        "payload": sha256_of(job.payload),
        "inputs": job.inputs,
        "seed": job.seed,
        "virtual_deadline": job.virtual_deadline,
        "point": point,
    }
    kept: list[Checkpoint] = []

    def keep(stopped: Stopped) -> bool:
        if stopped.name != point:
            return True
        note = {**snapshot.note, "what": f"{job.trial} at {point}", "seed": str(job.seed)}
        kept.append(stopped.keep(facts, note=note))
        return False

    with made_once(snapshot.cache, facts):
        if (found := find(snapshot.cache, facts)) is not None:
            return found
        say(f"running {job.trial} up to {point} (once)")
        with tempfile.TemporaryDirectory(prefix="swarm-chaos-branch-") as folder:
            sent = send(job, snapshot, pool, Path(folder), at_checkpoint=keep)
    if not kept:
        raise TrialError(
            f"the guest of {trial.name} did not come by {point}: {sent.result.detail}",
            hint="the trial takes another course here; `swarm-chaos replay` shows where",
        )
    return kept[0]
