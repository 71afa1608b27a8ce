"""Faults of a GELF sink: it accepts and does not read, reads slowly, or resets."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import FaultError
from harness.faults.parameter import SIZE, parameter, state
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
    proof = (
        "it read more than that before, if anybody sent; no more is read of all senders, one "
        "elsewhere that sends all it can among them; healed: a message is counted"
    )

    rate: float = parameter(
        replace(SIZE.between("1B"), unit="bytes/s"), "what it reads in a second", default="20KiB"
    )

    sent: float = state(0.0)
    """Bytes/s that its senders sent before."""

    def precheck(self) -> None:
        """Require that its senders, if it has any, send more than it is going to read."""
        super().precheck()
        self.sent = self.service.receives(_WATCHED)
        if 0 < self.sent <= self.rate:
            raise FaultError(
                f"{self.service.name} is sent {self.sent:.0f} bytes a second: a sink that reads "
                f"{self.rate:g} is not slow for its senders",
                hint="give a smaller rate, or have more sent to it",
            )

    def apply(self) -> None:
        """Read slowly."""
        self.service.behave("slow", rate=self.rate)

    def evidence(self) -> str:
        """Check that no more is read, of a sender that sends all it can and of all together."""
        taken = self.service.taken_in(_WATCHED)
        read = self.service.receives(_WATCHED)
        self.measured = {"bytes a second sent before": self.sent, "bytes a second read": read}
        # One second's worth may have been saved up, and a reading may end just after a helping.
        if taken > self.rate * 1.5 + _SLACK or read > self.rate * (1.5 + 1 / _WATCHED):
            most = max(taken, read)
            raise FaultError(
                f"{self.service.name} reads {most:.0f} bytes a second, not {self.rate:g}"
            )
        before = f"{self.sent:.0f} before" if self.sent else "nobody sent to it before"
        return f"{self.service.name} reads {read:.0f} bytes a second of its senders, {before}"


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
