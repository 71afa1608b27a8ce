"""What faults on one node have in common: the node, its parameters on record, its return."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.errors import FaultError, LabError
from harness.faults.fault import Fault
from harness.lab import Node
from harness.trial import Trial
from harness.wait import NotYet, wait_for

#: What faults that stop or end dockerd claim (see ``Fault.excludes``).
DOCKERD = "dockerd's process"

#: Seconds for a dockerd that was stopped or starved to answer again.
_ANSWERS_WITHIN = 60.0


class NodeFault(Fault):
    """A fault on one node. ``recorded`` names the attributes that go on record with it."""

    acts_on = "node"
    recorded: ClassVar[tuple[str, ...]] = ()

    def __init__(self, trial: Trial, node: Node) -> None:
        super().__init__(trial)
        self.node = node

    def describe(self) -> dict[str, Any]:
        """The node, and the parameters."""
        return {"target": self.node.name, **{name: getattr(self, name) for name in self.recorded}}

    def require_up(self) -> None:
        """The node must be switched on."""
        if not self.node.up:
            raise FaultError(f"{self.node.name} is off: {self.name} cannot be done to it")
        if _is_frozen(self.node):
            raise FaultError(f"{self.node.name} stands still: {self.name} cannot be seen on it")

    def require_dockerd(self) -> None:
        """The node's dockerd must be running."""
        self.require_up()
        if not self.node.dockerd.alive:
            raise FaultError(f"dockerd does not run on {self.node.name}: {self.name} needs it")

    def answers(self) -> str:
        """Wait until the node's API answers, as evidence; :class:`FaultError` if it does not.

        It is not asked while another fault has dockerd down or stopped.
        """
        if other := self._has_dockerd():
            return f"the API of {self.node.name} is not asked, for {other} has dockerd"

        def pinged() -> bool | NotYet:
            try:
                return self.node.dockerd.ping(timeout=1.0) or NotYet("no answer to _ping")
            except LabError as error:
                return NotYet(error.what)

        wait_for(pinged, state=f"the API of {self.node.name}", within=_ANSWERS_WITHIN, every=0.05)
        return f"the API of {self.node.name} answers"

    def restore(self) -> None:
        """Have the node up with its dockerd running, if something has ended it meanwhile.

        What another fault keeps down is left to the heal of that one.
        """
        if self._has_dockerd() is None and not (self.node.up and self.node.dockerd.alive):
            self.node.start()

    def _has_dockerd(self) -> str | None:
        """The name of another fault that is active and has the node's dockerd in its hands."""
        claim = f"{DOCKERD} of {self.node.name}"
        return self._trial.active_faults.holder(claim, other_than=self)


def _is_frozen(node: Node) -> bool:
    group = node.groups.unified
    try:
        return group is not None and "frozen 1" in (group / "cgroup.events").read_text()
    except OSError:
        return False
