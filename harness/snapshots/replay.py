"""Sending a recorded trial again, once or many times, also on a host that is not at rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, zip_longest
from pathlib import Path

from harness.errors import TrialError
from harness.images import Cache, Say, silent
from harness.snapshots.byte_diff import Difference, compare
from harness.snapshots.job import JobRecord, send
from harness.snapshots.lookup import snapshot_of
from harness.trial import read_record
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import Outcome, Stopped

CONSOLE = "console.log"


@dataclass(frozen=True)
class Replayed:
    """One replay: ``difference`` None means identical. ``trouble`` is set if it did not end."""

    difference: Difference | None
    trouble: str
    wall_seconds: float
    out_of_step: int = 0
    """How often QEMU's main loop went out of turn; above 0 it may differ for that alone."""
    digests: tuple[tuple[str, str], ...] = ()
    """The digest of the whole machine by checkpoint, if they were asked for."""

    @property
    def identical(self) -> bool:
        """Whether every byte was the same."""
        return self.difference is None and not self.trouble


def replay(
    trial: Path,
    cache: Cache,
    *,
    times: int = 1,
    at_once: int = 1,
    stressed: bool = False,
    keep: Path | None = None,
    digests: bool = False,
    say: Say = silent,
) -> Iterator[Replayed]:
    """Run the trial recorded in a folder again, ``times`` times, and compare each to the byte.

    ``at_once`` guests run side by side; more than there are CPUs share them. ``stressed`` keeps
    the host busy meanwhile: a loop per CPU, and writes that are synced. A replay that differs
    is kept in ``keep``, if that is given. With ``digests`` the whole machine is digested at each of
    its checkpoints. Raises :class:`TrialError` for a trial that cannot be
    sent again.
    """
    record = read_record(trial)
    if record.inputs.clock != "virtual":
        raise TrialError(
            f"{trial.name} ran under the {record.inputs.clock} clock: it cannot be replayed",
            hint="only trials in virtual time are functions of their inputs",
        )
    job_record = JobRecord.load(trial)
    snapshot = snapshot_of(record, job_record, cache, say=say)
    with _stress(stressed), ThreadPoolExecutor(at_once) as workers:
        crowd = _Crowd(at_once)
        runs = [
            workers.submit(_once, trial, job_record, snapshot, crowd, keep, digests=digests)
            for _ in range(times)
        ]
        for run in as_completed(runs):
            yield run.result()


class _Crowd(Pool):
    """A pool for more guests than CPUs: each waits for nobody, CPUs are shared in turn."""

    def __init__(self, guests: int) -> None:
        super().__init__()
        self._guests = guests
        self._turns = cycle(self.cpus)

    @contextmanager
    def slot(self, *, within: float = 3600.0, say: Say = silent) -> Iterator[int]:
        """Yield a CPU of its own where they go round, else one that is shared."""
        if self._guests <= self.slots:
            with super().slot(within=within, say=say) as cpu:
                yield cpu
        else:
            yield next(self._turns)


def _once(
    trial: Path,
    job_record: JobRecord,
    snapshot: Snapshot,
    pool: Pool,
    keep: Path | None,
    *,
    digests: bool,
) -> Replayed:
    began = time.monotonic()
    passed: list[tuple[str, str]] = []

    def look(stopped: Stopped) -> bool:
        if digests:
            passed.append((stopped.name, stopped.digest()))
        return True

    with tempfile.TemporaryDirectory(prefix="swarm-chaos-replay-") as folder:
        sent = send(job_record.job, snapshot, pool, Path(folder), at_checkpoint=look)
        wall = time.monotonic() - began
        if sent.result.outcome is not Outcome.FINISHED or sent.folder is None:
            return Replayed(None, sent.result.detail or "the guest left no trial", wall)
        shutil.move(sent.result.console, sent.folder / CONSOLE)
        difference = compare(trial, sent.folder)
        if difference is not None and keep is not None:
            target = keep / f"{trial.name}.{time.monotonic_ns()}"
            shutil.copytree(sent.folder, target)
        return Replayed(difference, "", wall, sent.result.out_of_step, tuple(passed))


def first_parting(replays: Sequence[Replayed]) -> tuple[str, str] | None:
    """Return between which two checkpoints replays become different machines; None if nowhere.

    The first is the last at which all are one, ``the thaw`` if there is none; the second is where
    they differ, ``the end`` if one has passed more checkpoints than the other.
    """
    before = "the thaw"
    for points in zip_longest(*(replay.digests for replay in replays)):
        if len(set(points)) > 1:
            names = {point[0] for point in points if point is not None}
            return before, " / ".join(sorted(names)) if None not in points else "the end"
        before = points[0][0]
    return None


_BUSY = "while True: pass"
_SYNCING = """
import os, tempfile
with tempfile.TemporaryFile(dir="/var/tmp") as file:
    while True:
        file.seek(0)
        file.write(bytes(1 << 22))
        os.fsync(file.fileno())
"""


@contextmanager
def _stress(wanted: bool) -> Iterator[None]:
    """Keep every CPU and the disk busy, if wanted."""
    programs = [*[_BUSY] * len(os.sched_getaffinity(0)), _SYNCING] if wanted else []
    running = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
