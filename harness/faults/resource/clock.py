"""Time: the clock of a lab that has a kernel of its own, and what no lab here can do.

Linux has no wall clock per namespace (time namespaces shift the monotonic clocks only). Where
nodes share their host's kernel no clock is touched; in a guest, whose kernel is the lab's own,
the clock jumps for all nodes at once. That is enough for what goes by the calendar: certificates
expire by it. Nodes that disagree about the time cannot be had.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from harness.errors import FaultError, UsageError
from harness.faults.fault import Fault
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import Parameter, choice, duration, share
from harness.faults.resource.whole_lab import require_own_kernel
from harness.lab import Node
from harness.swarm import Swarm, ask
from harness.trial import Trial

_DIRECTIONS = ("forward", "back")

#: Seconds by which a jump must have been seen at least to the second that Docker rounds to, and
#: the time it takes to ask.
_PRECISION = 5.0
_LONGEST = 20 * 365 * 86400.0  # swarmkit's root certificate lives that long


class ClockJumped(Fault):
    """The wall clock of all nodes jumps. Timers go by the monotonic clock, which does not.

    A swarm's certificates live for 90 days and are renewed after half of that at the earliest: a
    jump of ``2400h`` has all of them expired at once.
    """

    name = "clock-jumped"
    summary = "The wall clock of all nodes jumps at once; certificates expire by it (2400h)."
    acts_on = "swarm"
    parameters = (
        Parameter("by", duration, "s", "how far"),
        Parameter("direction", choice(*_DIRECTIONS), "", "forward or back", default="forward"),
    )
    needs = ("a kernel of the lab's own (microvm)",)
    proof = "an engine's own API tells the new time; healed: it tells the right one"
    remembers = ("offset",)

    def __init__(
        self, trial: Trial, swarm: Swarm, *, by: float, direction: str = "forward"
    ) -> None:
        super().__init__(trial)
        if not 1.0 <= by <= _LONGEST:
            raise UsageError(f"a jump by {by:g} s cannot be: from 1 s to 20 years")
        if direction not in _DIRECTIONS:
            raise UsageError(f"a clock cannot jump {direction!r}", hint="forward or back")
        self.swarm = swarm
        self.by = by
        self.direction = direction
        self.offset = 0.0

    def describe(self) -> dict[str, Any]:
        """All nodes, and the jump."""
        return {"target": "all nodes", "by": self.by, "direction": self.direction}

    def precheck(self) -> None:
        """The kernel must be the lab's own."""
        require_own_kernel(self.swarm.lab, "there is no wall clock per namespace")
        self.offset = time.time() - time.monotonic()

    def apply(self) -> None:
        """Set the clock."""
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + self.offset + self._jump)

    def evidence(self) -> str:
        """An engine tells the new time."""
        return self._told(self._jump)

    def undo(self) -> None:
        """Set the clock to what it would be."""
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + self.offset)

    def evidence_of_healing(self) -> str:
        """An engine tells the right time."""
        return self._told(0.0)

    @property
    def _jump(self) -> float:
        return self.by if self.direction == "forward" else -self.by

    def _told(self, jump: float) -> str:
        node = next(n for n in self.swarm.lab.nodes.values() if n.up and n.dockerd.alive)
        words = ask(node, lambda api: api.info())["SystemTime"]
        told = datetime.fromisoformat(words[:19]).replace(tzinfo=UTC).timestamp()
        expected = time.monotonic() + self.offset + jump
        if abs(told - expected) > _PRECISION:
            raise FaultError(f"{node.name} tells {words}, {expected - told:.0f} s off")
        return f"{node.name} tells {words}"


class ClockDrifting(NodeFault):
    """One node's clock runs at another rate than the others': no lab here can do that."""

    name = "clock-drifting"
    summary = "One node's clock runs at another rate. No lab here can do it: nodes share a clock."
    parameters = (Parameter("rate", share, "1", "how much faster it runs"),)
    needs = ("a wall clock per node",)
    proof = "none: the precheck refuses it with the reason"
    recorded = ("rate",)

    def __init__(self, trial: Trial, node: Node, *, rate: float) -> None:
        super().__init__(trial, node)
        if not 0 < rate <= 1:
            raise UsageError(f"a clock cannot drift by {rate:g}: above 0, up to 1")
        self.rate = rate

    def precheck(self) -> None:
        """It cannot be done."""
        raise FaultError(
            "Linux has no wall clock per namespace: nodes of one kernel cannot disagree",
            hint="clock-jumped moves the clock of all nodes at once, in a guest",
        )

    def apply(self) -> None:
        """Never reached."""

    def evidence(self) -> str:
        """Never reached."""
        raise FaultError("no clock drifts")

    def undo(self) -> None:
        """Never reached."""

    def evidence_of_healing(self) -> str:
        """Never reached."""
        return "no clock drifts"
