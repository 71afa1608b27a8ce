"""What faults on one node have in common: the node, its prechecks, its return."""

from __future__ import annotations

from contextlib import suppress

from harness.errors import FaultError, LabError, WaitTimeout
from harness.faults.fault import Fault
from harness.faults.parameter import target
from harness.lab import Node
from harness.wait import NotYet, wait_for

#: What faults that stop or end dockerd claim (see ``Fault.excludes``).
DOCKERD = "dockerd's process"

#: Seconds for a dockerd that was stopped or starved to answer again.
_ANSWERS_WITHIN = 60.0

#: The same while another fault starves it still: it either does what it can at once, or not at all.
_STARVED_ANSWERS_WITHIN = 5.0

#: Seconds for dockerd to end: on TERM it gives its containers 15 s (moby daemon.Shutdown), and
#: each its own grace period.
ENDS_WITHIN = 60.0


class NodeFault(Fault):
    """A fault on one node."""

    acts_on = "node"

    node: Node = target(kw_only=False)

    @property
    def target_name(self) -> str:
        """The node's name."""
        return self.node.name

    def require_up(self) -> None:
        """Raise :class:`FaultError` unless the node is switched on and running."""
        if not self.node.up:
            raise FaultError(f"{self.node.name} is off: {self.name} cannot be injected")
        if _is_frozen(self.node):
            raise FaultError(f"{self.node.name} is paused: {self.name} could not be proven on it")

    def require_dockerd(self) -> None:
        """Raise :class:`FaultError` unless the node's dockerd is running."""
        self.require_up()
        if not self.node.dockerd.alive:
            raise FaultError(f"dockerd is not running on {self.node.name}: {self.name} needs it")

    def answers(self) -> str:
        """Wait until the node's API answers, as evidence; :class:`FaultError` if it does not.

        It is not asked while another fault has dockerd down or stopped. One that starves it may
        keep it from answering, and then that is said: this fault has no more part in it.
        """
        if other := self._dockerd_claimed_by():
            return f"the API of {self.node.name} was not asked: {other} still has dockerd"

        def pinged() -> bool | NotYet:
            try:
                return self.node.dockerd.ping(timeout=1.0) or NotYet("no answer to _ping")
            except LabError as error:
                return NotYet(error.what)

        what, starving = f"the API of {self.node.name}", self.starved_by()
        within = self.patience(_ANSWERS_WITHIN)
        try:
            wait_for(pinged, state=what, within=within, every=0.05)
        except WaitTimeout:
            if starving is None:
                raise
            return f"{what} does not answer, {starving} is still injected"
        return f"{what} answers"

    def starved_by(self) -> str | None:
        """Return another active fault that takes from the node what dockerd cannot do without."""
        for other in self.trial.active_faults.active:
            if (
                isinstance(other, NodeFault)
                and other is not self
                and other.may_end_dockerd
                and other.node.name == self.node.name
            ):
                return other.id or other.name
        return None

    def patience(self, seconds: float) -> float:
        """Return the seconds to wait for what dockerd does by itself in ``seconds`` at most."""
        return seconds if self.starved_by() is None else min(seconds, _STARVED_ANSWERS_WITHIN)

    def restore(self) -> None:
        """Have the node up with its dockerd running, if something has ended it meanwhile.

        What another fault keeps down is left to the heal of that one.
        """
        if self._dockerd_claimed_by() is not None:
            return
        self._let_end()
        if not (self.node.up and self.node.dockerd.alive):
            self.node.start()

    def _let_end(self) -> None:
        """Let a dockerd end that is on its way out: whoever has told it to may be gone since.

        Until it has ended it is alive, and does not answer.
        """

        def decided() -> bool | NotYet:
            if not self.node.up or not self.node.dockerd.alive or self.node.dockerd.ping():
                return True
            return NotYet("it neither answers nor ends")

        with suppress(WaitTimeout):  # then it starts, or is starved: the evidence will tell
            wait_for(
                decided,
                state=f"dockerd of {self.node.name}",
                within=self.patience(ENDS_WITHIN),
                every=0.05,
            )

    def _dockerd_claimed_by(self) -> str | None:
        """The name of another active fault that stops or ends the node's dockerd."""
        claim = f"{DOCKERD} of {self.node.name}"
        return self.trial.active_faults.claimed_by(claim, other_than=self)


def _is_frozen(node: Node) -> bool:
    try:
        group = node.here.groups.unified
    except LabError:
        return False  # what pauses a node would have to enter it
    try:
        return group is not None and "frozen 1" in (group / "cgroup.events").read_text()
    except OSError:
        return False
