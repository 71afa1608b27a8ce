"""Faults of resources: CPU, memory, disks, tables that run full, the clock."""

from harness.faults.resource.clock import ClockDrifting, ClockJumped
from harness.faults.resource.cpu import CpuHogged, CpuLimited
from harness.faults.resource.disk import DiskFull, DiskOwned, DiskSlowed
from harness.faults.resource.group import ResourceFaults
from harness.faults.resource.kernel_limits import (
    DescriptorsExhausted,
    InotifyExhausted,
    ProcessesExhausted,
)
from harness.faults.resource.memory import DockerdMemoryLimited, MemoryHeld, MemoryLimited

__all__ = [
    "ClockDrifting",
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
