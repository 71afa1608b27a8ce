"""Jobs: sending a trial into a thawed guest, and taking in what comes back."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import TrialError
from harness.files import write_atomically
from harness.guest.contract import PROGRESS
from harness.snapshots.warm_up import warmed_up
from harness.vm.checkpoint import Checkpoint
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import AtCheckpoint, GuestResult, pass_by, thaw

JOB_RECORD_FILE = "job.json"
PAYLOADS = "payloads"


@dataclass(frozen=True)
class GuestJob:
    """What a guest is woken for. ``args`` are pytest's; deadlines are in seconds.

    ``warm_up``: what its swarm was brought to before (:mod:`harness.snapshots.warm_up`); None for
    a guest that is thawed as it was frozen.
    """

    trial: str
    args: tuple[str, ...]
    payload: bytes
    seed: int
    environment: dict[str, str] = field(default_factory=dict)
    virtual_deadline: float = 900.0
    wall_deadline: float = 3600.0
    warm_up: dict[str, Any] | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """What the guest's run is called with."""
        return {"trial": self.trial, "args": list(self.args), "environment": self.environment}


@dataclass(frozen=True)
class JobRecord:
    """``job.json`` in a trial's folder: with it the very same guest can be run again.

    ``snapshot`` is the frozen swarm's key, ``payload`` the sha256 of the code that was brought,
    kept in the run's folder ``payloads``. ``reused``: no guest ran for it, the result was kept from
    one that did.
    """

    snapshot: str
    payload: str
    job: GuestJob
    reused: bool = False

    @classmethod
    def of(cls, job: GuestJob, snapshot: Snapshot) -> JobRecord:
        """Record a job that is about to be sent."""
        return cls(snapshot.key, sha256_of(job.payload), job)

    def save(self, trial: Path) -> None:
        """Write it into a trial's folder, and the payload into the run (once)."""
        facts = {
            "snapshot": self.snapshot,
            "payload": self.payload,
            "trial": self.job.trial,
            "args": list(self.job.args),
            "environment": self.job.environment,
            "seed": self.job.seed,
            "virtual_deadline": self.job.virtual_deadline,
            "wall_deadline": self.job.wall_deadline,
            "warm_up": self.job.warm_up,
            "reused": self.reused,
        }
        (trial / JOB_RECORD_FILE).write_text(json.dumps(facts, indent=1) + "\n")
        kept = _payload_file(trial, self.payload)
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            write_atomically(kept, self.job.payload)

    @classmethod
    def load(cls, trial: Path) -> JobRecord:
        """Read it back; :class:`TrialError` says what is missing or damaged."""
        try:
            facts = json.loads((trial / JOB_RECORD_FILE).read_text())
            payload = _payload_file(trial, facts["payload"]).read_bytes()
            job = GuestJob(
                trial=facts["trial"],
                args=tuple(facts["args"]),
                payload=payload,
                seed=int(facts["seed"]),
                environment=dict(facts["environment"]),
                virtual_deadline=float(facts["virtual_deadline"]),
                wall_deadline=float(facts["wall_deadline"]),
                warm_up=facts.get("warm_up"),  # older recordings have none
            )
            job_record = cls(
                str(facts["snapshot"]), str(facts["payload"]), job, bool(facts.get("reused"))
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrialError(
                f"{trial} cannot be run again: {error}",
                hint=f"a trial of the microvm lab has {JOB_RECORD_FILE}, and its code in the run's "
                f"folder {PAYLOADS}",
            ) from error
        if sha256_of(payload) != job_record.payload:
            raise TrialError(f"the code kept for {trial} is not the code it was recorded with")
        return job_record


def sha256_of(payload: bytes) -> str:
    """Return a payload's sha256, hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def _payload_file(trial: Path, digest: str) -> Path:
    return trial.parent.parent / PAYLOADS / f"{digest[:16]}.tar"


@dataclass(frozen=True)
class JobResult:
    """What came back: how the guest ended, and the trial's folder if it left one."""

    result: GuestResult
    folder: Path | None
    thaw_seconds: float


def send(
    job: GuestJob,
    snapshot: Snapshot,
    pool: Pool,
    into: Path,
    *,
    watch: Callable[[str], None] = lambda _: None,
    at_checkpoint: AtCheckpoint = pass_by,
) -> JobResult:
    """Thaw a guest on a CPU of its own, let it run the job, and take in what it leaves.

    ``into`` gets everything the guest brought out and ``console.log``. ``watch`` gets the lines
    of progress while it runs, ``at_checkpoint`` each checkpoint that it passes. Ctrl-C ends it.
    """
    source = source_of(job, snapshot, pool, watch=watch)
    with (
        pool.slot(say=watch) as cpu,
        thaw(
            source,
            job.payload,
            job.inputs,
            seed=job.seed,
            virtual_deadline=job.virtual_deadline,
            cpu=cpu,
            at_checkpoint=at_checkpoint,
        ) as guest,
    ):
        follower = threading.Thread(target=_watch, args=(guest.console_lines(), watch), daemon=True)
        follower.start()
        result = guest.wait(
            into,
            wall_deadline=job.wall_deadline,
            virtual_deadline=job.virtual_deadline + 60.0,
        )
        follower.join(5.0)
    folder = into / job.trial
    return JobResult(result, folder if folder.is_dir() else None, guest.thaw_seconds)


def source_of(
    job: GuestJob, snapshot: Snapshot, pool: Pool, *, watch: Callable[[str], None]
) -> Snapshot | Checkpoint:
    """Return what a job is thawed from: the snapshot, or its checkpoint behind the warm-up."""
    if job.warm_up is None:
        return snapshot
    return warmed_up(snapshot, job.warm_up, job.seed, pool, watch=watch)


def _watch(lines: Iterable[str], watch: Callable[[str], None]) -> None:
    for line in lines:
        if line.startswith(PROGRESS):
            watch(line.removeprefix(PROGRESS))
