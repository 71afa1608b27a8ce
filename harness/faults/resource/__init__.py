"""Faults of resources: CPU, memory, disks, kernel limits, the clock."""

from __future__ import annotations

from dataclasses import dataclass

from harness.faults.factory import made_by
from harness.faults.resource.clock import ClockJumped
from harness.faults.resource.cpu import CpuHogged, CpuLimited
from harness.faults.resource.disk import DiskFull, DiskOwned, DiskSlowed
from harness.faults.resource.kernel_limits import (
    DescriptorsExhausted,
    InotifyExhausted,
    ProcessesExhausted,
)
from harness.faults.resource.memory import DockerdMemoryLimited, MemoryHeld, MemoryLimited
from harness.trial import Trial


@dataclass(frozen=True)
class ResourceFaults:
    """``faults.resource``: what nodes need to run. Sizes are in bytes, durations in seconds.

    ::

        with faults.resource.own_disk(node), faults.resource.fill_disk(node):
            ...
    """

    trial: Trial

    limit_cpu = made_by(CpuLimited)
    hog_cpu = made_by(CpuHogged)
    limit_memory = made_by(MemoryLimited)
    limit_dockerd_memory = made_by(DockerdMemoryLimited)
    hold_memory = made_by(MemoryHeld)
    exhaust_descriptors = made_by(DescriptorsExhausted)
    exhaust_processes = made_by(ProcessesExhausted)
    exhaust_inotify = made_by(InotifyExhausted)
    own_disk = made_by(DiskOwned)
    fill_disk = made_by(DiskFull)
    slow_disk = made_by(DiskSlowed)
    jump_clock = made_by(ClockJumped)


__all__ = [
    "ClockJumped",
    "CpuHogged",
    "CpuLimited",
    "DescriptorsExhausted",
    "DiskFull",
    "DiskOwned",
    "DiskSlowed",
    "DockerdMemoryLimited",
    "InotifyExhausted",
    "MemoryHeld",
    "MemoryLimited",
    "ProcessesExhausted",
    "ResourceFaults",
]
