"""Faults of a GELF sink: it accepts and does not read, reads slowly, or resets."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import FaultError
from harness.faults.parameter import SIZE, parameter
from harness.faults.service.service_fault import SEEN_WITHIN, ServiceFault
from harness.services.gelf_sink import GelfSink

_WATCHED = 2.0  # s for which the sink's throughput is measured
_QUIET = 1.0  # s without a byte read: a sink that works reads some thousand times as often

#: Bytes that a window and a sender's buffer can shift between the halves of the measurement.
_SLACK = 256 << 10


class _GelfFault(ServiceFault[GelfSink]):
    of = GelfSink
    excludes = ("the answers",)

    def undo(self) -> None:
        """Read again, and accept connections."""
        self.service.behave("serve")

    def evidence_of_healing(self) -> str:
        """Check that a message sent from elsewhere is counted."""
        if not self.service.counts_a_message(within=10.0):
            raise FaultError(f"{self.service.name} does not count what is sent to it")
        return f"{self.service.name} counts what is sent to it"


class GelfStalled(_GelfFault):
    """The sink accepts connections and reads nothing."""

    name = "gelf-stalled"
    summary = (
        "A GELF sink accepts connections and reads nothing, on old ones and new. Healed by reading."
    )
    proof = "a sender from elsewhere is blocked; healed: a message is counted"

    def apply(self) -> None:
        """Stop reading."""
        self.service.behave("stall")

    def evidence(self) -> str:
        """Check that a sender is blocked once the buffers in between are full."""
        taken = self.service.stuck_after(_QUIET, SEEN_WITHIN)
        if taken is None:
            raise FaultError(f"{self.service.name} goes on reading what is sent to it")
        return f"{self.service.name} accepts connections; a sender is blocked after {taken} bytes"


class GelfSlow(_GelfFault):
    """The sink reads a few bytes a second."""

    name = "gelf-slow"
    summary = "A GELF sink reads a given number of bytes a second from all its senders together."
    proof = "no more than that is read from a sender elsewhere; healed: a message is counted"

    rate: float = parameter(
        replace(SIZE.between("1B"), unit="bytes/s"), "what it reads in a second", default="20KiB"
    )

    def apply(self) -> None:
        """Read slowly."""
        self.service.behave("slow", rate=self.rate)

    def evidence(self) -> str:
        """Check that no more than that is read from a sender that sends all it can."""
        taken = self.service.taken_in(_WATCHED)
        if taken > self.rate * 1.5 + _SLACK:
            raise FaultError(
                f"{self.service.name} reads {taken:.0f} bytes a second, not {self.rate:g}"
            )
        return f"{self.service.name} reads at most {taken:.0f} bytes a second of a sender"


class GelfReset(_GelfFault):
    """The sink resets every connection."""

    name = "gelf-reset"
    summary = "A GELF sink resets its connections, and each new one as soon as it is accepted."
    proof = "a connection from elsewhere is reset; healed: a message is counted"

    def apply(self) -> None:
        """Reset all connections, and those to come."""
        self.service.behave("reset")

    def evidence(self) -> str:
        """Check that a connection is reset."""
        self.expect_contact("reset")
        return f"{self.service.name} resets connections"
