"""The snapshot that a recorded trial was thawed from."""

from __future__ import annotations

from harness.faults.topology_file import recorded_nodes
from harness.images import Cache, Say, silent
from harness.snapshots.job import JobRecord
from harness.snapshots.swarm_snapshot import FrozenSwarm, freeze_swarm
from harness.trial import TrialRecord
from harness.vm.machine import Clock, Machine
from harness.vm.qemu_binary import provide_qemu
from harness.vm.snapshot import Snapshot, set_aside_if_damaged, snapshots


def snapshot_of(
    record: TrialRecord, job_record: JobRecord, cache: Cache, *, say: Say = silent
) -> Snapshot:
    """Return the recorded snapshot if the cache has it, else freeze one from the same inputs.

    What is frozen now may have another key, because the engine's files, QEMU or the sources that
    form a swarm have changed since; ``say`` reports it.
    """
    provide_qemu(cache, say=say)
    for known in snapshots(cache):
        if known.key == job_record.snapshot and not set_aside_if_damaged(known, say=say):
            return known
    say(f"the snapshot {job_record.snapshot} is not in the cache: freezing it again")
    wanted = FrozenSwarm(
        record.inputs.engine.name,
        recorded_nodes(record.inputs.topology),
        ".".join(record.inputs.kernel.split(".")[:2]),
        Machine(
            clock=Clock.VIRTUAL,
            cpus=int(record.inputs.options.get("cpus", "1")),
            memory_mib=int(record.inputs.options.get("memory_mib", Machine.memory_mib)),
        ),
        tuple(record.inputs.options.get("other_engines", "").split()),
    )
    found, _ = freeze_swarm(wanted, cache, say=say)
    if found.key != job_record.snapshot:
        say(
            f"the snapshot frozen here has the key {found.key}, not {job_record.snapshot}: engine, "
            "QEMU, Debian's packages or the harness differ, so results may differ"
        )
    return found
