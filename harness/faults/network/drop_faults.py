"""Faults that drop packets by rules: cut, flap, loss, MTU black hole."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from harness.errors import FaultError, HarnessError, WaitTimeout
from harness.faults.network import rules
from harness.faults.network.evidence_packets import send
from harness.faults.network.link_fault import PLANE_HELP, LinkFault, PacketCounts
from harness.faults.network.loss_statistics import consistent, packets_needed
from harness.faults.parameter import DURATION, PLANE, SHARE, SIZE, parameter, state
from harness.faults.planes import Plane
from harness.wait import NotYet, wait_for

#: An Ethernet frame's payload.
_MTU = 1500

#: Packets that a loss is measured with at least, and how many each source sends before the next
#: look: a queue that waits for ARP holds about as many.
_PACKETS, _BATCH = 200, 60

#: Seconds for them to be sent and counted.
_SENT_WITHIN = 10.0


class NetworkCut(LinkFault):
    """Every packet of a plane is silently dropped on some links."""

    name = "network-cut"
    summary = "Silently drops every packet of a plane on the links."

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop."""
        return [rules.DROP]


_PHASE = DURATION.between("0.5s", "1h")


class NetworkFlapping(LinkFault):
    """A cut that comes and goes, beginning with the cut."""

    name = "network-flapping"
    summary = "Cuts a plane on the links for a while, restores it for a while, and so on."
    proof = (
        "probe packets of the plane are dropped in the first cut; healed: no rule of it is left, "
        "with the number of its cuts"
    )
    ends_with_process = True

    down: float = parameter(_PHASE, "how long each cut lasts", default="5s")
    up: float = parameter(_PHASE, "how long the links work in between", default="5s")
    cuts: int = state(0)
    """How many cuts there have been since it was injected."""
    _end: threading.Event = state(factory=threading.Event)
    _thread: threading.Thread | None = state(None)
    _trouble: HarnessError | None = state(None)

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop."""
        return [rules.DROP]

    def apply(self) -> None:
        """Cut, and start a thread that goes on from there."""
        super().apply()
        self.cuts = 1
        self._trouble = None
        self._end.clear()
        self._thread = threading.Thread(target=self._flap, name=f"flap-{self.slot}", daemon=True)
        self._thread.start()

    def undo(self) -> None:
        """End the thread, whether the links are cut just then or not, and remove the rules."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        super().undo()

    def evidence_of_healing(self) -> str:
        """Check that the rules are gone, and that nothing went wrong on the way."""
        gone = super().evidence_of_healing()
        if self._trouble is not None:
            raise FaultError(f"the flapping stopped after {self.cuts} cuts: {self._trouble.what}")
        return f"{gone} after {self.cuts} cuts"

    def _flap(self) -> None:
        chain = f"bridge {rules.table_of(self.slot)} effect"
        up, down = f"flush chain {chain}\n", f"add rule {chain} {rules.DROP}\n"
        try:
            while not self._end.wait(self.down):
                self.fabric.nft(up)
                if self._end.wait(self.up):
                    return
                self.fabric.nft(down)
                self.cuts += 1
        except HarnessError as error:
            self._trouble = error


class NetworkLoss(LinkFault):
    """Each packet is lost with the same probability, independent of all others."""

    name = "network-loss"
    summary = (
        "Loses each packet of a plane with one probability, independent of all others. Done by "
        "rules and not by netem, so it is the same on every kernel."
    )
    proof = (
        "of probe packets of the plane the rule drops as many as the share allows (binomial "
        "interval at 99.9 %), and at least one; healed: its rules are gone, with the "
        "packets lost and seen"
    )

    # A smaller share could not be proven by a number of packets that can be sent in time.
    share: float = parameter(
        SHARE.between("0.001", "1"),
        "the share that is lost, in each direction of the links",
        kw_only=False,
    )
    _counts: PacketCounts = state(PacketCounts(0, 0))

    @property
    def packet_counts(self) -> PacketCounts:
        """Packets lost, and packets that met the rule, probes included; final ones if healed."""
        if self.slot and (counted := self.fabric.counters(rules.table_of(self.slot))):
            self._counts = PacketCounts(lost=counted[rules.HIT], seen=counted[rules.SEEN])
        return self._counts

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop some, by the kernel's random numbers."""
        return rules.losing(self.share)

    def evidence(self) -> str:
        """Send packets until some must have been lost; check that the number fits the share."""
        probes = self._probes()
        # Where ARP is in the plane it is lost too, and holds packets back: no more than it takes.
        least = _PACKETS if self.traffic.family == "ip" else 1
        needed = max(packets_needed(self.share), least)

        def seen() -> int | NotYet:
            now = self.packet_counts.seen  # of other traffic too: the rule is for all of it
            if now >= needed:
                return now
            send(probes, self.traffic, times=min(_BATCH, -(-(needed - now) // len(probes))))
            return NotYet(f"{now} of {needed} packets")

        with suppress(WaitTimeout):  # what has been counted by then is judged
            wait_for(seen, state="packets to meet the rule", within=_SENT_WITHIN, every=0.02)
        counts = self.packet_counts
        # The kernel reads one counter after the other while packets go on: of a total loss, what
        # had been seen at one look must be lost at the next.
        lost = self.packet_counts.lost if self.share >= 1 else counts.lost
        counts = PacketCounts(min(lost, counts.seen), counts.seen)
        self.measured = {"lost": counts.lost, "seen": counts.seen}
        if not counts.lost or not consistent(counts.lost, counts.seen, self.share):
            raise FaultError(
                f"{self.name} on {self.links} lost {counts.lost} of {counts.seen} packets, "
                f"which does not fit a share of {self.share:g}"
            )
        return (
            f"{counts.lost} of {counts.seen} packets were lost "
            f"({counts.lost / counts.seen:.1%}, {self.share:.1%} asked for)"
        )

    def undo(self) -> None:
        """Remove the rules; what they have counted is kept."""
        _ = self.packet_counts
        super().undo()

    def evidence_of_healing(self) -> str:
        """Check that the rules are gone; say what they did."""
        gone = super().evidence_of_healing()
        lost, seen = self._counts
        return f"{gone}; {lost} of {seen} packets were lost"


class MtuBlackHole(LinkFault):
    """Packets above a size vanish, and no ICMP says why: handshakes pass, payloads hang."""

    name = "mtu-black-hole"
    summary = (
        "Drops IP packets above a size without telling the sender, as a path with an undiscovered "
        "MTU does: connections come up and hang with their first large packet."
    )
    proof = "probe packets of full size are dropped and counted; healed: its rules are gone"
    probe_size = _MTU

    # 68 bytes is what IPv4 must be able to carry in one piece (RFC 791), 1499 is below the MTU.
    size: float = parameter(
        SIZE.between("68B", "1499B"), "the largest IP packet that passes", default="1400B"
    )
    plane: str | Plane = parameter(PLANE, PLANE_HELP, default="ip")

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop the large ones."""
        return rules.longer_than(int(self.size))
