"""Killing: a node's dockerd, or the whole node, with SIGKILL."""

from __future__ import annotations

from harness.errors import FaultError
from harness.faults.node_fault import DOCKERD, NodeFault
from harness.faults.parameter import state


class DockerdKilled(NodeFault):
    """SIGKILL for dockerd; its containers go on under their shims. Healed by starting it again."""

    name = "dockerd-killed"
    summary = "Kills dockerd with SIGKILL; containers live on under their shims. Healed by a start."
    proof = "the pid is gone and the API refuses connections; healed: the API answers"
    excludes = (DOCKERD,)
    recorded = ("pid",)

    pid: int = state(0)

    def precheck(self) -> None:
        """Require a running dockerd."""
        if not self.node.up or not self.node.dockerd.alive:
            raise FaultError(f"dockerd is not running on {self.node.name}: it cannot be killed")
        self.pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Kill it and wait until the kernel says it is gone."""
        self.node.dockerd.kill()

    def evidence(self) -> str:
        """Check that the process is gone and its API does not answer."""
        if self.node.dockerd.alive or self.node.dockerd.ping(timeout=0.5):
            raise FaultError(f"dockerd on {self.node.name} still runs or answers")
        return f"pid {self.pid} is gone, the API refuses connections"

    def undo(self) -> None:
        """Start it again over the same state, the node too if that went down meanwhile."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the API answers."""
        return self.answers()


class NodeKilled(NodeFault):
    """SIGKILL for every process of a node at once. Healed by switching it on again."""

    name = "node-killed"
    summary = "Kills every process of a node with SIGKILL at once. Healed by switching it on again."
    proof = "the node has no process left; healed: the API answers"
    excludes = (DOCKERD,)

    def precheck(self) -> None:
        """Require that the node is on."""
        if not self.node.up:
            raise FaultError(f"{self.node.name} is off: it cannot be killed")

    def apply(self) -> None:
        """Kill its init, and with it all that runs on it."""
        self.node.kill()

    def evidence(self) -> str:
        """Check that no process of the node is left."""
        if self.node.up:
            raise FaultError(f"{self.node.name} is still on")
        return f"{self.node.name} has no process left"

    def undo(self) -> None:
        """Switch it on with the files it had."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the API answers."""
        return self.answers()
