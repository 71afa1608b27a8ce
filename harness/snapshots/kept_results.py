"""Results by their inputs: a trial in virtual time that was run before need not be run again.

What a guest leaves is kept in the cache under a hash of all that it depends on: the snapshot, its
warm-up, the code that was brought, pytest's arguments, environment and seed. Documents, reports and
whatever else only the host runs are no part of it. Only what came to its end is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.images import Cache
from harness.snapshots.job import GuestJob, JobResult, sha256_of
from harness.vm import content_hash, sparse
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import GuestResult, Outcome

MOST_BYTES = 2 << 30
"""Room for results; beyond that, those that were not used for the longest time go."""

_FORMAT = 1  # raise when what is kept changes its form
_RESULT = "result.json"
_LEFT = "left"
_CONSOLE = "console.log"


@dataclass(frozen=True)
class KeptResults:
    """The results that are kept in a cache."""

    cache: Cache

    def key(self, job: GuestJob, snapshot: Snapshot) -> str:
        """Return the hash of all that a job's result depends on.

        The deadline on the wall is no part of it: what is kept was within it.
        """
        return content_hash.of_facts(
            {
                "format": _FORMAT,
                "snapshot": snapshot.key,
                "warm_up": job.warm_up,
                "payload": sha256_of(job.payload),
                "inputs": job.inputs,
                "seed": job.seed,
                "virtual_deadline": job.virtual_deadline,
            }
        )

    def keep(self, key: str, sent: JobResult) -> None:
        """Keep what a guest left, unless it did not come to its end or lost its lockstep."""
        result = sent.result
        place = self._store / key
        whole = result.outcome is Outcome.FINISHED and sent.folder is not None
        if not whole or result.out_of_step or place.exists():
            return
        self._store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".keeping-", dir=self._store) as work:
            draft = Path(work) / key
            shutil.copytree(result.folder, draft / _LEFT)
            facts = {
                "exit_code": result.exit_code,
                "console_tail": result.console_tail,
                "virtual_seconds": result.virtual_seconds,
                "wall_seconds": result.wall_seconds,
                "recorded_at": time.time(),
            }
            (draft / _RESULT).write_text(json.dumps(facts, indent=1))
            try:
                draft.rename(place)
            except OSError:  # another process was faster, with the same
                return
        self._prune()

    def take(self, key: str, job: GuestJob, into: Path) -> JobResult | None:
        """Put what was kept under ``key`` into the folder ``into``; None if there is nothing."""
        place = self._store / key
        try:
            facts = json.loads((place / _RESULT).read_text())
            shutil.copytree(place / _LEFT, into)
            os.utime(place / _RESULT)
        except (OSError, ValueError):  # never kept, or just removed by another process
            shutil.rmtree(into, ignore_errors=True)
            return None
        result = GuestResult(
            outcome=Outcome.FINISHED,
            exit_code=facts["exit_code"],
            folder=into,
            console=into / _CONSOLE,
            console_tail=facts["console_tail"],
            virtual_seconds=facts["virtual_seconds"],
            wall_seconds=facts["wall_seconds"],
        )
        return JobResult(result, into / job.trial, 0.0)

    @property
    def _store(self) -> Path:
        return self.cache.root / "result"

    def _prune(self) -> None:
        notes = self._store.glob(f"[!.]*/{_RESULT}")
        latest = sorted(notes, key=lambda note: note.stat().st_mtime, reverse=True)
        used = 0
        for note in latest:
            used += sparse.disk_use(note.parent)
            if used > MOST_BYTES:
                shutil.rmtree(note.parent, ignore_errors=True)
