"""``faults.resource``: CPU, memory, disks, tables and the clock."""

from __future__ import annotations

from harness.faults.group import FaultGroup
from harness.faults.resource.clock import ClockDrifting, ClockJumped
from harness.faults.resource.cpu import CpuHogged, CpuLimited
from harness.faults.resource.disk import DiskFull, DiskOwned, DiskSlowed
from harness.faults.resource.kernel_limits import (
    DescriptorsExhausted,
    InotifyExhausted,
    ProcessesExhausted,
)
from harness.faults.resource.memory import DockerdMemoryLimited, MemoryHeld, MemoryLimited
from harness.lab import Node
from harness.swarm import Swarm


class ResourceFaults(FaultGroup):
    """Faults of what nodes live on. Sizes are in bytes, durations in seconds."""

    def limit_cpu(self, node: Node, share: float) -> CpuLimited:
        """A node gets at most a share of one CPU."""
        return CpuLimited(self._trial, node, share=share)

    def hog_cpu(self, node: Node, *, processes: int = 2, weight: int = 1) -> CpuHogged:
        """Busy processes compete on a node, with so many times the weight of its dockerd."""
        return CpuHogged(self._trial, node, processes=processes, weight=weight)

    def limit_memory(self, node: Node, limit: float) -> MemoryLimited:
        """A node, tasks included, gets so much memory."""
        return MemoryLimited(self._trial, node, limit=limit)

    def limit_dockerd_memory(self, node: Node, room: float) -> DockerdMemoryLimited:
        """dockerd may take so much more than it has."""
        return DockerdMemoryLimited(self._trial, node, room=room)

    def hold_memory(self, node: Node, amount: float) -> MemoryHeld:
        """So much of a node's memory is taken."""
        return MemoryHeld(self._trial, node, amount=amount)

    def exhaust_descriptors(self, node: Node, *, spare: int = 0) -> DescriptorsExhausted:
        """dockerd gets no more file descriptors."""
        return DescriptorsExhausted(self._trial, node, spare=spare)

    def exhaust_processes(self, node: Node, *, spare: int = 0) -> ProcessesExhausted:
        """A node gets no more processes."""
        return ProcessesExhausted(self._trial, node, spare=spare)

    def exhaust_inotify(self, swarm: Swarm) -> InotifyExhausted:
        """No process of the lab gets another inotify instance."""
        return InotifyExhausted(self._trial, swarm)

    def own_disk(self, node: Node, *, folder: str = "swarm", size: float = 256 << 20) -> DiskOwned:
        """A folder gets a disk of its own (dockerd restarts): a preparation for the next two."""
        return DiskOwned(self._trial, node, folder=folder, size=size)

    def fill_disk(self, node: Node, *, folder: str = "swarm", room: float = 0.0) -> DiskFull:
        """The disk of a folder is full."""
        return DiskFull(self._trial, node, folder=folder, room=room)

    def slow_disk(self, node: Node, *, folder: str = "swarm", writes: int = 20) -> DiskSlowed:
        """The disk of a folder does so many writes a second."""
        return DiskSlowed(self._trial, node, folder=folder, writes=writes)

    def jump_clock(self, swarm: Swarm, by: float, direction: str = "forward") -> ClockJumped:
        """The wall clock of all nodes jumps at once."""
        return ClockJumped(self._trial, swarm, by=by, direction=direction)

    def drift_clock(self, node: Node, rate: float) -> ClockDrifting:
        """One node's clock drifts; the precheck says why it does not."""
        return ClockDrifting(self._trial, node, rate=rate)
