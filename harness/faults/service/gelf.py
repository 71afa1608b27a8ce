"""Faults of a GELF sink: it accepts and does not read, reads slowly, or resets."""

from __future__ import annotations

from typing import Any

from harness.errors import FaultError, UsageError
from harness.faults.parameter import Parameter, size
from harness.faults.service.service_fault import SEEN_WITHIN, ServiceFault
from harness.services import GelfSink
from harness.trial import Trial

_WATCHED = 2.0  # s that a sink's appetite is measured for
_QUIET = 1.0  # s without a byte taken: a sink that reads takes some thousand times as often

#: What a window and a sender's buffer can shift from one half of the measurement to the other.
_SLACK = 256 << 10


class _GelfFault(ServiceFault[GelfSink]):
    of = GelfSink
    excludes = ("the answers",)

    def undo(self) -> None:
        """Read again, and take connections."""
        self.service.behave("serve")

    def evidence_of_healing(self) -> str:
        """A message sent from elsewhere is counted."""
        if not self.service.counts_a_message(within=10.0):
            raise FaultError(f"{self.service.name} does not count what is sent to it")
        return f"{self.service.name} counts what is sent to it"


class GelfStalled(_GelfFault):
    """The sink takes connections and reads nothing."""

    name = "gelf-stalled"
    summary = (
        "A GELF sink takes connections and reads nothing, on old ones and new. Healed by reading."
    )
    proof = "a sender from elsewhere stands still; healed: a message is counted"

    def apply(self) -> None:
        """Stop reading."""
        self.service.behave("stall")

    def evidence(self) -> str:
        """Who sends gets nowhere, once the buffers between are full."""
        taken = self.service.stuck_after(_QUIET, SEEN_WITHIN)
        if taken is None:
            raise FaultError(f"{self.service.name} goes on taking in what is sent to it")
        return f"{self.service.name} takes connections; a sender stands still after {taken} bytes"


class GelfSlow(_GelfFault):
    """The sink reads a few bytes a second."""

    name = "gelf-slow"
    summary = "A GELF sink reads a given number of bytes a second from all its senders together."
    parameters = (Parameter("rate", size, "bytes/s", "what it reads in a second", "20KiB"),)
    proof = "a sender from elsewhere gets no further than that; healed: a message is counted"

    def __init__(self, trial: Trial, service: GelfSink, *, rate: float = 20480.0) -> None:
        super().__init__(trial, service)
        if rate < 1:
            raise UsageError(f"a sink that reads {rate:g} bytes a second is not slow: it stands")
        self.rate = rate

    def describe(self) -> dict[str, Any]:
        """The sink, and how fast it reads."""
        return {**super().describe(), "rate": self.rate}

    def apply(self) -> None:
        """Read slowly."""
        self.service.behave("slow", rate=self.rate)

    def evidence(self) -> str:
        """Who sends all he can gets no more taken in than that."""
        taken = self.service.taken_in(_WATCHED)
        if taken > self.rate * 1.5 + _SLACK:
            raise FaultError(
                f"{self.service.name} takes in {taken:.0f} bytes a second, not {self.rate:g}"
            )
        return f"{self.service.name} takes in at most {taken:.0f} bytes a second of a sender"


class GelfReset(_GelfFault):
    """The sink resets every connection."""

    name = "gelf-reset"
    summary = "A GELF sink resets its connections, and each new one as soon as it is taken."
    proof = "a connection from elsewhere is reset; healed: a message is counted"

    def apply(self) -> None:
        """Reset all connections, and those to come."""
        self.service.behave("reset")

    def evidence(self) -> str:
        """A connection is reset."""
        self.expect_contact("reset")
        return f"{self.service.name} resets connections"
