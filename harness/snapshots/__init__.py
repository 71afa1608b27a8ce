"""Frozen swarms: the microVM lab's snapshots with a swarm in them, and trials sent into them."""

from harness.snapshots.job import JOB_RECORD_FILE, GuestJob, JobRecord, JobResult, send
from harness.snapshots.lookup import snapshot_of
from harness.snapshots.swarm_snapshot import FrozenSwarm, freeze_swarm
from harness.vm.kernels import KERNELS, kernel_suite

__all__ = [
    "JOB_RECORD_FILE",
    "KERNELS",
    "FrozenSwarm",
    "GuestJob",
    "JobRecord",
    "JobResult",
    "freeze_swarm",
    "kernel_suite",
    "send",
    "snapshot_of",
]
