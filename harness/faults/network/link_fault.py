"""What all faults on links share: a table of rules on the fabric, its proof and its removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from harness.errors import FaultError, HarnessError
from harness.faults.fault import Fault
from harness.faults.links import Links
from harness.faults.network import rules
from harness.faults.network.evidence_packets import Probe, probes_for, send
from harness.faults.network.fabric import Fabric
from harness.faults.parameter import PLANE, parameter, state, target
from harness.faults.planes import Plane, plane_of
from harness.wait import NotYet, wait_for


class PacketCounts(NamedTuple):
    """Packets that a fault has lost, of those that it has seen."""

    lost: int
    seen: int


PLANE_HELP = "the kind of traffic: a plane's name, or a port as in 8080/tcp"

#: Faults on one fabric at once; a a slot is a table's name and, for a qdisc, a class's number.
_SLOTS = 255

#: Seconds that a probe packet may take to be counted: a few microseconds, or as long as ARP does.
_COUNTED_WITHIN = 5.0


class LinkFault(Fault):
    """A fault on links, done by a table of rules of its own on the fabric.

    The rules name places and not devices, and lie outside the nodes: they stay when a node dies
    and hold for it again when it is back.
    """

    acts_on = "links"
    needs: ClassVar[tuple[str, ...]] = ("nftables",)
    proof = (
        "probe packets of the plane, sent along the links, are counted by the fault's own rules; "
        "healed: its rules are gone"
    )
    needed_to_heal = ("slot",)

    #: The size of probe packets in bytes; 0: as small as can be.
    probe_size: ClassVar[int] = 0

    links: Links = target(kw_only=False)
    plane: str | Plane = parameter(PLANE, PLANE_HELP, default="everything")
    slot: int = state(0)
    """The number of its table while it is injected; 0: it has none."""

    @property
    def fabric(self) -> Fabric:
        """The fabric of the links' lab."""
        return Fabric(self.links.lab)

    @property
    def traffic(self) -> Plane:
        """The plane itself, also where ``plane`` was given as its name."""
        return plane_of(self.plane)

    # -- what each says and does ---------------------------------------------------------------

    def effect(self, slot: int) -> Sequence[str]:
        """Return the nft statements that its packets meet, when its table is in this slot."""
        raise NotImplementedError

    @property
    def target_name(self) -> str:
        """The links, as people write them."""
        return str(self.links)

    def claims(self) -> frozenset[str]:
        """Claim nothing but itself: cuts and losses of several faults add up."""
        return frozenset({f"{self.name} of {self.plane} on {self.links}"})

    def precheck(self) -> None:
        """Require two places that are up, and that nft accepts the rules; nothing is touched."""
        pairs = self.links.pairs()
        if not pairs:
            raise FaultError(f"nothing is at the other end of {self.links}")
        self._probes()
        if why := self.fabric.refusal(self._script(_SLOTS + 1)):
            raise FaultError(f"this kernel does not support {self.name}: {why}")

    def apply(self) -> None:
        """Add the rules, in one transaction."""
        taken = self.fabric.tables()
        for slot in range(1, _SLOTS + 1):
            # Another process may take the same slot in the meantime: the kernel decides.
            if rules.table_of(slot) in taken:
                continue
            self.slot = slot
            self.checkpoint()
            if self.fabric.accepts(self._script(slot)):
                return
            self.slot = 0
        raise FaultError("the fabric accepted the rules in none of its slots")

    def evidence(self) -> str:
        """Send probe packets and check that the rules counted them."""
        probes = self._probes()
        before = self._counted(rules.HIT)
        sent = send(probes, self.traffic, size=self.probe_size)
        if not sent:
            raise FaultError(f"no probe packet could be sent on {self.links} to prove {self.name}")

        # Where ARP is in the plane its request may be all that ever arrives: one for each probe.
        enough = sent if self.traffic.family == "ip" else len(probes)

        def counted() -> int | NotYet:
            now = self._counted(rules.HIT) - before
            return now if now >= enough else NotYet(f"{now} of {enough} probe packets counted")

        try:
            number = wait_for(
                counted, state="probe packets to be counted", within=_COUNTED_WITHIN, every=0.01
            )
        except HarnessError as error:
            raise FaultError(f"{self.name} on {self.links} shows no effect: {error.what}") from None
        return self.evidence_text(sent, number)

    def evidence_text(self, sent: int, counted: int) -> str:
        """Return the proof, as a sentence for the journal."""
        return f"{counted} packets were dropped, {min(sent, counted)} of them probes"

    def undo(self) -> None:
        """Remove the rules, in one transaction."""
        if self.slot:
            self.fabric.nft(rules.removal(rules.table_of(self.slot)))

    def evidence_of_healing(self) -> str:
        """Check that the table is gone."""
        if self.slot and rules.table_of(self.slot) in self.fabric.tables():
            raise FaultError(f"the rules of {self.name} are still on the fabric")
        self.slot = 0
        return "its rules are gone"

    # -- within --------------------------------------------------------------------------------

    def _probes(self) -> list[Probe]:
        """Who can send probe packets; :class:`FaultError` if no place can."""
        if probes := probes_for(self.links):
            return probes
        raise FaultError(
            f"no two places on {self.links} are up: no probe packet could prove {self.name}"
        )

    def _script(self, slot: int) -> str:
        return rules.script(
            rules.table_of(slot), self.links.directed, self.traffic, self.effect(slot)
        )

    def _counted(self, counter: str) -> int:
        return self.fabric.counters(rules.table_of(self.slot)).get(counter, 0)
