"""Where the time of a recorded trial goes: CPU and virtual seconds between its checkpoints."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.bench.metric import Metric, cpu_of_children
from harness.errors import TrialError
from harness.images import Cache, Say
from harness.snapshots.job import JobRecord, send, source_of
from harness.snapshots.lookup import snapshot_of
from harness.trial import read_record
from harness.vm.checkpoint import Checkpoint
from harness.vm.pool import Pool
from harness.vm.thaw import Outcome, Stopped


@dataclass(frozen=True)
class Mark:
    """A point of a trial: what its journal has there, on its clock, and QEMU's CPU time by then."""

    event: str
    virtual: float
    cpu: float


def metrics(trial: Path, cache: Cache, say: Say) -> Iterator[Metric]:
    """Run the trial in a folder again, and yield what it takes, phase by phase.

    A phase is named by its number and by the event that ends it. ``trial.warm_up.cpu`` is what its
    warm start has taken before. Raises :class:`TrialError` for what cannot be run again.
    """
    record = read_record(trial)
    if record.inputs.clock != "virtual":
        raise TrialError(
            f"{trial.name} ran under the {record.inputs.clock} clock: it cannot be run again",
            hint="only trials in virtual time are functions of their inputs",
        )
    job_record, pool = JobRecord.load(trial), Pool()
    snapshot = snapshot_of(record, job_record, cache, say=say)
    source = source_of(job_record.job, snapshot, pool, watch=say)
    if isinstance(source, Checkpoint):
        yield Metric("trial.warm_up.cpu", source.cpu_seconds, "s")
    marks = [Mark("thaw", 0.0, 0.0)]

    def passing(stopped: Stopped) -> bool:
        virtual, _, event = stopped.name.partition(" ")
        marks.append(Mark(event, float(virtual), stopped.cpu_seconds()))
        return True

    with tempfile.TemporaryDirectory(prefix="swarm-chaos-bench-") as folder:
        before = cpu_of_children()
        sent = send(job_record.job, snapshot, pool, Path(folder), watch=say, at_checkpoint=passing)
        if sent.result.outcome is not Outcome.FINISHED or sent.folder is None:
            raise TrialError(f"{trial.name} did not come to its end again: {sent.result.detail}")
        ended = read_record(sent.folder).seconds
    marks.append(Mark("end", ended, cpu_of_children() - before))
    yield from phases(marks)
    virtual, wall = sent.result.virtual_seconds, sent.result.wall_seconds
    yield Metric("trial.virtual", round(virtual, 2), "s")
    yield Metric("trial.cpu", round(marks[-1].cpu, 2), "s")
    yield Metric("trial.wall", round(wall, 2), "s")


def phases(marks: list[Mark]) -> Iterator[Metric]:
    """Yield CPU and virtual seconds from each mark to the next."""
    for number, (one, other) in enumerate(pairwise(marks), start=1):
        name = f"trial.{number}.{other.event}"
        yield Metric(f"{name}.virtual", round(other.virtual - one.virtual, 2), "s")
        yield Metric(f"{name}.cpu", round(other.cpu - one.cpu, 2), "s")
