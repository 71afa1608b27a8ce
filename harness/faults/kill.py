"""Killing: a node's dockerd, or the whole node, with SIGKILL."""

from __future__ import annotations

from typing import Any

from harness.errors import FaultError
from harness.faults.fault import Fault
from harness.lab import Node
from harness.trial import Trial


class DockerdKilled(Fault):
    """SIGKILL for dockerd; its containers go on under their shims. Healed by starting it again."""

    name = "dockerd-killed"
    summary = "dockerd gets SIGKILL; containers live on under their shims. Healed by a start."
    proof = "the pid is gone and the API refuses; healed: the API answers"
    excludes = ("dockerd's process",)

    def __init__(self, trial: Trial, node: Node) -> None:
        super().__init__(trial)
        self.node = node
        self._pid = 0

    def describe(self) -> dict[str, Any]:
        """The node, and the pid that dies."""
        return {"target": self.node.name, "pid": self._pid}

    def precheck(self) -> None:
        """dockerd must be running."""
        if not self.node.up or not self.node.dockerd.alive:
            raise FaultError(f"dockerd does not run on {self.node.name}: it cannot be killed")
        self._pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Kill it and wait until the kernel says it is gone."""
        self.node.dockerd.kill()

    def evidence(self) -> str:
        """The process is gone and its API does not answer."""
        if self.node.dockerd.alive or self.node.dockerd.ping(timeout=0.5):
            raise FaultError(f"dockerd on {self.node.name} still runs or answers")
        return f"pid {self._pid} is gone, the API refuses"

    def undo(self) -> None:
        """Start it again over the same state, the node too if that went down meanwhile."""
        if not self.node.up or not self.node.dockerd.alive:
            self.node.start()

    def evidence_of_healing(self) -> str:
        """The API answers."""
        return _answers(self.node)


class NodeKilled(Fault):
    """SIGKILL for every process of a node at once. Healed by switching it on again."""

    name = "node-killed"
    summary = "Every process of a node gets SIGKILL at once. Healed by switching it on again."
    proof = "the node has no process left; healed: the API answers"
    excludes = ("dockerd's process",)

    def __init__(self, trial: Trial, node: Node) -> None:
        super().__init__(trial)
        self.node = node

    def describe(self) -> dict[str, Any]:
        """The node."""
        return {"target": self.node.name}

    def precheck(self) -> None:
        """The node must be on."""
        if not self.node.up:
            raise FaultError(f"{self.node.name} is off: it cannot be killed")

    def apply(self) -> None:
        """Kill its init, and with it all that runs on it."""
        self.node.kill()

    def evidence(self) -> str:
        """No process of the node is left."""
        if self.node.up:
            raise FaultError(f"{self.node.name} is still on")
        return f"{self.node.name} has no process left"

    def undo(self) -> None:
        """Switch it on with the files it had."""
        if not self.node.up:
            self.node.start()

    def evidence_of_healing(self) -> str:
        """The API answers."""
        return _answers(self.node)


def _answers(node: Node) -> str:
    if not node.dockerd.ping():
        raise FaultError(f"dockerd on {node.name} does not answer after the heal")
    return f"the API of {node.name} answers"
