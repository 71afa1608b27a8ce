"""Faults of hosts: what a machine around dockerd does, and what its supervisor does about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.faults.factory import made_by
from harness.faults.host.machines import HostCloned, HostReaddressed, NetworkLate
from harness.faults.host.rollback import DiskRolledBack, keep_disk
from harness.faults.host.shutdowns import DockerdCrashed, HostRebooted, HostShutDown
from harness.faults.host.supervisor import Supervisor
from harness.lab import Node
from harness.trial import Trial


@dataclass(frozen=True)
class HostFaults:
    """``faults.host``: hosts that shut down, reboot, come back with an old disk; their units.

    ::

        faults.host.keep_disk(worker)
        ...
        with faults.host.roll_back(worker):
            ...
    """

    trial: Trial

    crash_dockerd = made_by(DockerdCrashed)
    shut_down = made_by(HostShutDown)
    reboot = made_by(HostRebooted)
    roll_back = made_by(DiskRolledBack)
    readdress = made_by(HostReaddressed)
    clone = made_by(HostCloned)
    start_before_network = made_by(NetworkLate)

    def keep_disk(self, node: Node) -> None:
        """Keep a copy of a node's swarm state, to which :attr:`roll_back` rolls it back."""
        keep_disk(node)
        self.trial.journal.write("note", text=f"the swarm state of {node.name} is kept")

    def supervise(self, nodes: Iterable[Node]) -> Supervisor:
        """Return what restarts these nodes' dockerds when they die unasked, in a ``with`` block."""
        return Supervisor(self.trial, list(nodes))


__all__ = [
    "DiskRolledBack",
    "DockerdCrashed",
    "HostCloned",
    "HostFaults",
    "HostReaddressed",
    "HostRebooted",
    "HostShutDown",
    "NetworkLate",
    "Supervisor",
]
