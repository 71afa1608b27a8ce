"""Faults that drop packets by rules: cut, flap, loss, MTU black hole."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from harness.errors import FaultError, HarnessError, UsageError
from harness.faults.links import Links
from harness.faults.network import rules
from harness.faults.network.link_fault import PLANE, LinkFault, seconds_of, share_of
from harness.faults.parameter import Parameter, duration, share, size
from harness.faults.planes import EVERYTHING, IP, Plane
from harness.trial import Trial

#: What IPv4 must be able to carry in one piece (RFC 791), and what is still below the fabric's MTU.
_SMALLEST, _LARGEST = 68, 1499

#: An Ethernet frame's payload.
_MTU = 1500


class NetworkCut(LinkFault):
    """Every packet of a plane is dropped on some links; nobody is told."""

    name = "network-cut"
    summary = "Drops every packet of a plane on the links, without a word to anybody."

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop."""
        return [rules.DROP]


class NetworkFlapping(LinkFault):
    """A cut that comes and goes, beginning with the cut."""

    name = "network-flapping"
    summary = "Cuts a plane on the links for a while, lets it be for a while, and so on."
    parameters = (
        PLANE,
        Parameter("down", duration, "s", "how long each cut lasts", default="5s"),
        Parameter("up", duration, "s", "how long the links are whole in between", default="5s"),
    )
    proof = (
        "probe packets of the plane are dropped in the first cut; healed: no rule of it is left, "
        "and the number of its cuts is told"
    )
    lives_here = True

    def __init__(
        self,
        trial: Trial,
        links: Links,
        *,
        plane: str | Plane = EVERYTHING,
        down: float = 5.0,
        up: float = 5.0,
    ) -> None:
        super().__init__(trial, links, plane=plane)
        self.down = seconds_of(down, "a cut", least=0.5)
        self.up = seconds_of(up, "a time between cuts", least=0.5)
        self.cuts = 0
        """How many cuts there have been since it was injected."""
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble: HarnessError | None = None

    def settings(self) -> dict[str, Any]:
        """How long it is cut, how long not."""
        return {"down": self.down, "up": self.up}

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop."""
        return [rules.DROP]

    def apply(self) -> None:
        """Cut, and have a thread go on from there."""
        super().apply()
        self.cuts = 1
        self._trouble = None
        self._end.clear()
        self._thread = threading.Thread(target=self._flap, name=f"flap-{self.slot}", daemon=True)
        self._thread.start()

    def undo(self) -> None:
        """End the thread, whole or cut, and take the rules out."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        super().undo()

    def evidence_of_healing(self) -> str:
        """The rules are gone, and nothing went wrong on the way."""
        words = super().evidence_of_healing()
        if self._trouble is not None:
            raise FaultError(f"the flapping stopped after {self.cuts} cuts: {self._trouble.what}")
        return f"{words} after {self.cuts} cuts"

    def _flap(self) -> None:
        chain = f"bridge {rules.table_of(self.slot)} effect"
        whole, cut = f"flush chain {chain}\n", f"add rule {chain} {rules.DROP}\n"
        try:
            while not self._end.wait(self.down):
                self.fabric.nft(whole)
                if self._end.wait(self.up):
                    return
                self.fabric.nft(cut)
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
    parameters = (
        PLANE,
        Parameter("share", share, "1", "how much is lost, each way that is among the links"),
    )
    proof = (
        "probe packets of the plane meet the rule, and those it drops are counted; healed: its "
        "rules are gone, and what was lost of how much is told"
    )
    proven_by = rules.SEEN
    probes_each = 20

    def __init__(
        self, trial: Trial, links: Links, *, share: float, plane: str | Plane = EVERYTHING
    ) -> None:
        super().__init__(trial, links, plane=plane)
        self.share = share_of(share, "a loss")
        self._tally = (0, 0)

    @property
    def tally(self) -> tuple[int, int]:
        """Packets lost, and packets that met the rule, probes included; the last ones if healed."""
        if self.slot and (counted := self.fabric.counters(rules.table_of(self.slot))):
            self._tally = (counted[rules.HIT], counted[rules.SEEN])
        return self._tally

    def settings(self) -> dict[str, Any]:
        """How much is lost."""
        return {"share": self.share}

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop some, by the kernel's random numbers."""
        return rules.losing(self.share)

    def words_of_evidence(self, sent: int, counted: int) -> str:
        """How many probes met the rule, and what was lost of all."""
        lost, _ = self.tally
        probes = min(sent, counted)
        return f"{counted} packets met the rule, {probes} of them probes; {lost} were lost"

    def undo(self) -> None:
        """Take the rules out; what they have counted is kept."""
        _ = self.tally
        super().undo()

    def evidence_of_healing(self) -> str:
        """The rules are gone; what they did."""
        words = super().evidence_of_healing()
        lost, seen = self._tally
        return f"{words}; {lost} of {seen} packets were lost"


class MtuBlackHole(LinkFault):
    """Packets above a size vanish, and no ICMP says why: handshakes pass, payloads hang."""

    name = "mtu-black-hole"
    summary = (
        "Drops IP packets above a size without telling the sender, as a path does whose MTU "
        "nobody knows: connections come up and hang with their first large packet."
    )
    parameters = (
        Parameter("size", size, "B", "the largest IP packet that passes", default="1400B"),
        Parameter("plane", PLANE.read, "", PLANE.help, default=IP.name),
    )
    proof = "probe packets of full size are dropped and counted; healed: its rules are gone"
    probe_size = _MTU

    def __init__(
        self, trial: Trial, links: Links, *, size: float = 1400, plane: str | Plane = IP
    ) -> None:
        super().__init__(trial, links, plane=plane)
        if not isinstance(size, int | float) or not _SMALLEST <= size <= _LARGEST:
            raise UsageError(
                f"a black hole for packets above {size} bytes cannot be",
                hint=f"from {_SMALLEST} to {_LARGEST} bytes, for the fabric's MTU is {_MTU}",
            )
        self.size = int(size)

    def settings(self) -> dict[str, Any]:
        """The largest size that passes."""
        return {"size": self.size}

    def effect(self, slot: int) -> Sequence[str]:  # noqa: ARG002 - the same in each
        """Drop the large ones."""
        return rules.longer_than(self.size)


__all__: list[str] = ["MtuBlackHole", "NetworkCut", "NetworkFlapping", "NetworkLoss"]
