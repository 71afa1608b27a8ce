"""What all faults on links share: a table of rules on the fabric, its proof and its removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from harness.errors import FaultError, HarnessError, UsageError
from harness.faults.fault import Fault
from harness.faults.links import Links
from harness.faults.network import rules
from harness.faults.network.evidence_packets import is_up, probes_for, send
from harness.faults.network.fabric import Fabric
from harness.faults.parameter import Parameter
from harness.faults.planes import EVERYTHING, Plane, plane_of
from harness.trial import Trial
from harness.wait import NotYet, wait_for

PLANE = Parameter(
    "plane",
    plane_of,
    "",
    "the kind of traffic: a plane's name, or a port as in 8080/tcp",
    default=EVERYTHING.name,
)

#: Faults on one fabric at once; a slot is a table's name and, for a qdisc, a class's number.
_SLOTS = 255

#: Seconds that a probe packet may take to be counted: a few microseconds, or as long as ARP does.
_COUNTED_WITHIN = 5.0


class LinkFault(Fault):
    """A fault on links, done by a table of rules of its own on the fabric.

    The rules name places and not devices, and lie outside the nodes: they stay when a node dies
    and hold for it again when it is back.
    """

    acts_on: ClassVar[Literal["node", "links", "task", "service", "swarm"]] = "links"
    parameters: ClassVar[tuple[Parameter, ...]] = (PLANE,)
    needs: ClassVar[tuple[str, ...]] = ("nftables",)
    proof: ClassVar[str] = (
        "probe packets of the plane, sent along the links, are counted by the fault's own rules; "
        "healed: its rules are gone"
    )
    remembers: ClassVar[tuple[str, ...]] = ("slot",)

    #: The counter that must count the probes, how many there are of each, and of how many bytes.
    proven_by: ClassVar[str] = rules.HIT
    probes_each: ClassVar[int] = 1
    probe_size: ClassVar[int] = 0

    def __init__(self, trial: Trial, links: Links, *, plane: str | Plane = EVERYTHING) -> None:
        super().__init__(trial)
        self.links = links
        self.plane = plane_of(plane)
        self.fabric = Fabric(links.lab)
        self.slot = 0
        """The number of its table while it is injected; 0: it has none."""

    # -- what each says and does ---------------------------------------------------------------

    def effect(self, slot: int) -> Sequence[str]:
        """The statements of nft that its packets meet, when its table is in this slot."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Its parameters beside the plane, for the journal."""
        return {}

    def describe(self) -> dict[str, Any]:
        """The links, the plane and the parameters."""
        return {"target": str(self.links), "plane": str(self.plane), **self.settings()}

    def claims(self) -> frozenset[str]:
        """Nothing but itself: cuts and losses of several faults add up."""
        return frozenset({f"{self.name} of {self.plane} on {self.links}"})

    def precheck(self) -> None:
        """Somebody must be up at one end, and nft must take the rules; nothing is touched."""
        pairs = self.links.pairs()
        if not pairs:
            raise FaultError(f"there is nobody at the other end of {self.links}")
        ends = {name for pair in pairs for name in pair}
        if not any(is_up(self.links.place(name)) for name in ends):
            raise FaultError(f"everybody on {self.links} is switched off")
        if why := self.fabric.refusal(self._script(_SLOTS + 1)):
            raise FaultError(f"this kernel cannot do {self.name}: {why}")

    def apply(self) -> None:
        """Put the rules in, in one transaction."""
        taken = self.fabric.tables()
        for slot in range(1, _SLOTS + 1):
            # Somebody else may take the same slot between looking and making: the kernel decides.
            if rules.table_of(slot) in taken:
                continue
            self.slot = slot
            self.jot()
            if self.fabric.takes(self._script(slot)):
                return
            self.slot = 0
        raise FaultError("the fabric took the rules into none of its slots")

    def evidence(self) -> str:
        """Probe packets were counted by the rules."""
        probes = probes_for(self.links)
        before = self._counted(self.proven_by)
        sent = send(probes, self.plane, times=self.probes_each, size=self.probe_size)
        if not sent:
            return "its rules are in place; nobody is up to send a probe"

        # Where ARP is in the plane it may be all that ever comes: a question for each probe.
        enough = sent if self.plane.family == "ip" else len(probes)

        def counted() -> int | NotYet:
            now = self._counted(self.proven_by) - before
            return now if now >= enough else NotYet(f"{now} of {enough} probe packets counted")

        try:
            number = wait_for(
                counted, state="probe packets to be counted", within=_COUNTED_WITHIN, every=0.01
            )
        except HarnessError as error:
            raise FaultError(f"{self.name} on {self.links} shows no effect: {error.what}") from None
        return self.words_of_evidence(sent, number)

    def words_of_evidence(self, sent: int, counted: int) -> str:
        """The proof, as a sentence for the journal."""
        return f"{counted} packets were dropped, {min(sent, counted)} of them probes"

    def undo(self) -> None:
        """Take the rules out, in one transaction."""
        if self.slot:
            self.fabric.nft(rules.removal(rules.table_of(self.slot)))

    def evidence_of_healing(self) -> str:
        """The table is gone."""
        if self.slot and rules.table_of(self.slot) in self.fabric.tables():
            raise FaultError(f"the rules of {self.name} are still on the fabric")
        self.slot = 0
        return "its rules are gone"

    # -- within --------------------------------------------------------------------------------

    def _script(self, slot: int) -> str:
        return rules.script(rules.table_of(slot), self.links.ways, self.plane, self.effect(slot))

    def _counted(self, counter: str) -> int:
        return self.fabric.counters(rules.table_of(self.slot)).get(counter, 0)


def share_of(value: float, what: str) -> float:
    """A share above 0 and up to 1; :class:`UsageError` for anything else."""
    if not isinstance(value, int | float) or not 0.0 < value <= 1.0:
        raise UsageError(f"{what} of {value} cannot be", hint="a share above 0 and up to 1")
    return float(value)


def seconds_of(value: float, what: str, *, least: float = 0.0) -> float:
    """A number of seconds, at least ``least`` and at most an hour."""
    if not isinstance(value, int | float) or not least <= value <= 3600.0:
        raise UsageError(f"{what} of {value} s cannot be", hint=f"from {least:g} s to 1 h")
    return float(value)
