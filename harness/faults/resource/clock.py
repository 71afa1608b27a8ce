"""Time: the clock of a lab that has its own kernel, and why nodes cannot have one each.

Linux has no wall clock per namespace (time namespaces shift the monotonic clocks only). Where
nodes share their host's kernel no clock is touched; in a guest, whose kernel is the lab's own,
the clock jumps for all nodes at once. That is enough for what depends on the calendar: certificates
expire by it. Nodes that disagree about the time are not possible.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from harness.errors import FaultError
from harness.faults.fault import Fault
from harness.faults.parameter import DURATION, one_of, parameter, state, target
from harness.faults.resource.whole_lab import require_own_kernel
from harness.swarm import Swarm, ask

#: Seconds by which a jump must have been seen at least to the second that Docker rounds to, and
#: the time it takes to ask.
_PRECISION = 5.0

#: Up to 20 years: swarmkit's root certificate lives that long.
_JUMP = DURATION.between("1s", "175200h")


class ClockJumped(Fault):
    """The wall clock of all nodes jumps. Timers go by the monotonic clock, which does not.

    A swarm's certificates live for 90 days and are renewed after half of that at the earliest: a
    jump of ``2400h`` has all of them expired at once.
    """

    name = "clock-jumped"
    summary = "The wall clock of all nodes jumps at once; certificates expire by it (2400h)."
    acts_on = "swarm"
    needs = ("a kernel of the lab's own (microvm)",)
    proof = "an engine's own API reports the new time; healed: it reports the right one"
    needed_to_heal = ("offset",)

    swarm: Swarm = target(kw_only=False)
    by: float = parameter(_JUMP, "how far", kw_only=False)
    direction: str = parameter(one_of("forward", "back"), "forward or back", default="forward")
    offset: float = state(0.0)

    @property
    def target_name(self) -> str:
        """All nodes: they share the clock."""
        return "all nodes"

    def precheck(self) -> None:
        """Require a kernel of the lab's own."""
        require_own_kernel(self.swarm.lab, "there is no wall clock per namespace")
        self.offset = time.time() - time.monotonic()

    def apply(self) -> None:
        """Set the clock."""
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + self.offset + self._jump)

    def evidence(self) -> str:
        """Check that an engine reports the new time."""
        return self._reported(self._jump)

    def undo(self) -> None:
        """Set the clock to what it would be without the jump."""
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + self.offset)

    def evidence_of_healing(self) -> str:
        """Check that an engine reports the right time."""
        return self._reported(0.0)

    @property
    def _jump(self) -> float:
        return self.by if self.direction == "forward" else -self.by

    def _reported(self, jump: float) -> str:
        node = next(n for n in self.swarm.lab.nodes.values() if n.up and n.dockerd.alive)
        text = ask(node, lambda api: api.info())["SystemTime"]
        reported = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp()
        expected = time.monotonic() + self.offset + jump
        if abs(reported - expected) > _PRECISION:
            raise FaultError(f"{node.name} reports {text}, {expected - reported:.0f} s off")
        return f"{node.name} reports {text}"
