"""Faults that hold packets in a queue or change them: delay, bursts of loss, rate, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from weakref import WeakSet

from harness.errors import FaultError, HarnessError, MissingError, UsageError
from harness.faults.links import Links
from harness.faults.network import qdisc_tree, rules
from harness.faults.network.link_fault import PLANE, LinkFault
from harness.faults.network.netem import (
    Burst,
    Corrupt,
    Delay,
    Duplicate,
    Effect,
    FourStates,
    Loss,
    Reorder,
    netem,
    read_back,
)
from harness.faults.parameter import Parameter, choice, duration, rate, share
from harness.faults.planes import EVERYTHING, IP, Plane
from harness.lab import probe_features
from harness.trial import Trial
from harness.wait import NotYet, wait_for

#: Every fault with a queue in this process; injected are those that have a slot.
_SHAPED: WeakSet[ShapedLinks] = WeakSet()

_PASSED_WITHIN = 5.0


class ShapedLinks(LinkFault):
    """Packets of a plane that enter these links go through a queue at their destination's port.

    Two of these cannot hold for the same packets, for a packet has one queue: what is wanted at
    once on the same links and plane goes into one fault (:class:`NetworkImpaired`).
    """

    needs: ClassVar[tuple[str, ...]] = ("nftables", "htb")
    proof = (
        "the kernel gives the queue's settings back as they were asked for, and probe packets of "
        "the plane are counted in it; healed: rules and queues are gone"
    )
    kind: ClassVar[str]
    """The leaf's qdisc."""

    def __init__(self, trial: Trial, links: Links, *, plane: str | Plane) -> None:
        super().__init__(trial, links, plane=plane)
        self._watch: qdisc_tree.PortWatch | None = None
        _SHAPED.add(self)

    def leaf(self) -> str:
        """The leaf, in tc's words."""
        raise NotImplementedError

    def wrong_with(self, options: dict[str, Any]) -> str:
        """What of the leaf's settings is not as asked for; "" if nothing."""
        raise NotImplementedError

    def shown(self) -> str:
        """What its packets meet, for the evidence."""
        return self.leaf()

    @property
    def tally(self) -> tuple[int, int]:
        """Packets that left its queues or wait there, and packets that were dropped in them."""
        found = qdisc_tree.leaves(self.fabric, self.slot) if self.slot else []
        return sum(leaf.passed + leaf.waiting for leaf in found), sum(
            leaf.dropped for leaf in found
        )

    # -- its life ------------------------------------------------------------------------------

    def effect(self, slot: int) -> Sequence[str]:
        """Send packets into the slot's queue."""
        return [f"meta priority set {qdisc_tree.priority(slot)} counter name {rules.HIT}"]

    def precheck(self) -> None:
        """The qdiscs must be there and the ports free, and no other queue for the same packets."""
        super().precheck()
        for feature in self.needs:
            if not probe_features().has(feature):
                raise MissingError(
                    f"{self.name} needs {feature}, which this kernel has not",
                    hint="take the microvm lab (--lab microvm), whose kernel has it",
                )
        for port, what in qdisc_tree.foreign(self.fabric, self._ports()).items():
            raise FaultError(f"the port of {port} carries a qdisc {what} that is not the harness's")
        for other in _SHAPED:
            if other is self or not other.slot or other.links.lab is not self.links.lab:
                continue
            if self.plane.meets(other.plane) and (both := self.links.pairs() & other.links.pairs()):
                source, destination = min(both)
                raise FaultError(
                    f"{self.name} contradicts {other.name} on {other.links}: a packet from "
                    f"{source} to {destination} cannot wait in two queues",
                    hint="put both into one fault: faults.network.impair(...)",
                )

    def apply(self) -> None:
        """Lay the queues, then have the rules lead into them."""
        super().apply()
        qdisc_tree.lay(self.fabric, self._ports(), self.slot, self.leaf())
        self._watch = qdisc_tree.PortWatch(self.fabric, self._lay_again)

    def evidence(self) -> str:
        """The settings are the kernel's, and the probes went in."""
        found = qdisc_tree.leaves(self.fabric, self.slot)
        if not found:
            raise FaultError(f"{self.name} has no queue on any port of {self.links}")
        for leaf in found:
            if leaf.kind != self.kind or (wrong := self.wrong_with(leaf.options)):
                what = wrong if leaf.kind == self.kind else f"it is a {leaf.kind}"
                raise FaultError(f"the queue at {leaf.port} is not as asked for: {what}")
        marked = super().evidence()
        count = self._counted(rules.HIT)

        def passed() -> int | NotYet:
            through = sum(self.tally)
            return through or NotYet("no packet has been in the queues")

        if count:
            try:
                wait_for(passed, state="the queues", within=_PASSED_WITHIN, every=0.01)
            except HarnessError as error:
                raise FaultError(f"{self.name} shows no effect: {error.what}") from None
        at = ", ".join(sorted(leaf.port for leaf in found))
        return f"{self.shown()} at {at}; {marked}"

    def words_of_evidence(self, sent: int, counted: int) -> str:
        """How many packets were led into the queues."""
        return f"{counted} packets were led into it, {min(sent, counted)} of them probes"

    def undo(self) -> None:
        """Take the rules out, then the queues; what waits in them is lost."""
        watch, self._watch = self._watch, None
        try:
            if watch is not None:
                watch.end()
        finally:
            super().undo()
            if self.slot:
                qdisc_tree.lift(self.fabric, self.slot)

    def evidence_of_healing(self) -> str:
        """Neither rules nor queues are left."""
        if self.slot and (left := qdisc_tree.leaves(self.fabric, self.slot)):
            raise FaultError(f"the port of {left[0].port} still has the queue of {self.name}")
        return f"{super().evidence_of_healing()}, and its queues too"

    def _ports(self) -> set[str]:
        return {destination for _, destination in self.links.pairs()}

    def _lay_again(self) -> None:
        # Another process may have healed it meanwhile.
        if self._watch and self.slot and rules.table_of(self.slot) in self.fabric.tables():
            qdisc_tree.lay(self.fabric, self._ports(), self.slot, self.leaf())


class Impairment(ShapedLinks):
    """What netem does to packets, by one or more of its effects."""

    needs = ("nftables", "htb", "netem")
    kind = "netem"

    def __init__(
        self, trial: Trial, links: Links, effects: Sequence[Effect], *, plane: str | Plane
    ) -> None:
        super().__init__(trial, links, plane=plane)
        self.effects = tuple(effects)
        self.leaf()  # what cannot be together is refused now

    def leaf(self) -> str:
        """netem with all its effects."""
        return netem(self.effects)

    def wrong_with(self, options: dict[str, Any]) -> str:
        """What netem does otherwise than it was told."""
        return read_back(self.effects, options)

    def settings(self) -> dict[str, Any]:
        """The effects' own parameters."""
        return {name: value for effect in self.effects for name, value in effect.facts().items()}


class NetworkDelay(Impairment):
    """Packets come later."""

    name = "network-delay"
    summary = (
        "Delays packets; with jitter by an amount drawn from a distribution, which reorders them."
    )
    parameters = (
        PLANE,
        Parameter("delay", duration, "s", "added to each packet, each way among the links"),
        Parameter("jitter", duration, "s", "the distribution's width", default="0s"),
        Parameter(
            "distribution",
            choice(*Delay.DISTRIBUTIONS),
            "",
            "how delays are drawn around their mean",
            default="normal",
        ),
    )

    def __init__(
        self,
        trial: Trial,
        links: Links,
        *,
        delay: float,
        jitter: float = 0.0,
        distribution: str = "normal",
        plane: str | Plane = EVERYTHING,
    ) -> None:
        super().__init__(trial, links, [Delay(delay, jitter, distribution)], plane=plane)


class NetworkLossBursts(Impairment):
    """Gilbert and Elliott's model: a good state and a bad one, each with a loss of its own."""

    name = "network-loss-bursts"
    summary = (
        "Loses packets in bursts (Gilbert-Elliott): a link is good or bad, and changes between "
        "the two from packet to packet. netem's correlated loss is not offered, for it does not "
        "keep its rate."
    )
    parameters = (
        PLANE,
        Parameter("to_bad", share, "1", "probability, per packet, that a good link turns bad"),
        Parameter("to_good", share, "1", "probability, per packet, that a bad link turns good"),
        Parameter("bad_loss", share, "1", "loss while it is bad", default="100%"),
        Parameter("good_loss", share, "1", "loss while it is good", default="0%"),
    )

    def __init__(
        self,
        trial: Trial,
        links: Links,
        *,
        to_bad: float,
        to_good: float,
        bad_loss: float = 1.0,
        good_loss: float = 0.0,
        plane: str | Plane = EVERYTHING,
    ) -> None:
        effect = Burst(to_bad, to_good, bad_loss, good_loss)
        super().__init__(trial, links, [effect], plane=plane)


class NetworkLossStates(Impairment):
    """netem's four-state Markov model of loss."""

    name = "network-loss-states"
    summary = (
        "Loses packets by a Markov chain of four states: 1 received in a gap, 2 received within a "
        "burst, 3 lost within a burst, 4 lost alone in a gap."
    )
    parameters = (
        PLANE,
        Parameter("p13", share, "1", "from received to a burst of losses"),
        Parameter("p31", share, "1", "from a burst back to received", default="100%"),
        Parameter("p32", share, "1", "from lost to received within a burst", default="0%"),
        Parameter("p23", share, "1", "from received to lost within a burst", default="100%"),
        Parameter("p14", share, "1", "a loss that stands alone", default="0%"),
    )

    def __init__(
        self,
        trial: Trial,
        links: Links,
        *,
        p13: float,
        p31: float = 1.0,
        p32: float = 0.0,
        p23: float = 1.0,
        p14: float = 0.0,
        plane: str | Plane = EVERYTHING,
    ) -> None:
        super().__init__(trial, links, [FourStates(p13, p31, p32, p23, p14)], plane=plane)


class NetworkDuplicate(Impairment):
    """Some packets come twice."""

    name = "network-duplicate"
    summary = "Sends a share of the packets twice."
    parameters = (PLANE, Parameter("share", share, "1", "how many are sent twice"))

    def __init__(
        self, trial: Trial, links: Links, *, share: float, plane: str | Plane = EVERYTHING
    ) -> None:
        super().__init__(trial, links, [Duplicate(share)], plane=plane)


class NetworkCorrupt(Impairment):
    """Some packets have one bit wrong."""

    name = "network-corrupt"
    summary = "Flips one bit in a share of the packets; receivers drop most of them by checksum."
    parameters = (
        PLANE,
        Parameter("share", share, "1", "how many have a bit flipped"),
    )

    def __init__(
        self, trial: Trial, links: Links, *, share: float, plane: str | Plane = IP
    ) -> None:
        super().__init__(trial, links, [Corrupt(share)], plane=plane)


class NetworkReorder(Impairment):
    """Some packets overtake others."""

    name = "network-reorder"
    summary = "Delays packets but for a share of them, which go at once and so overtake the others."
    parameters = (
        PLANE,
        Parameter("share", share, "1", "how many go at once"),
        Parameter("delay", duration, "s", "of the others", default="10ms"),
    )

    def __init__(
        self,
        trial: Trial,
        links: Links,
        *,
        share: float,
        delay: float = 0.01,
        plane: str | Plane = EVERYTHING,
    ) -> None:
        super().__init__(trial, links, [Delay(delay), Reorder(share)], plane=plane)


class NetworkImpaired(Impairment):
    """Several of netem's effects at once."""

    name = "network-impaired"
    summary = "Delays, loses, duplicates, corrupts and reorders the same packets in one queue."
    parameters = (
        PLANE,
        Parameter("delay", duration, "s", "added to each packet", default="0s"),
        Parameter("jitter", duration, "s", "the normal distribution's width", default="0s"),
        Parameter("loss", share, "1", "how many are lost, each for itself", default="0%"),
        Parameter("duplicate", share, "1", "how many are sent twice", default="0%"),
        Parameter("corrupt", share, "1", "how many have a bit flipped", default="0%"),
        Parameter("reorder", share, "1", "how many are not delayed", default="0%"),
    )

    def __init__(
        self,
        trial: Trial,
        links: Links,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        corrupt: float = 0.0,
        reorder: float = 0.0,
        plane: str | Plane = EVERYTHING,
    ) -> None:
        effects: list[Effect] = []
        if delay or jitter:
            effects.append(Delay(delay, jitter))
        if loss:
            effects.append(Loss(loss))
        if duplicate:
            effects.append(Duplicate(duplicate))
        if corrupt:
            effects.append(Corrupt(corrupt))
        if reorder:
            effects.append(Reorder(reorder))
        if not effects:
            raise UsageError("nothing is to be done to the packets", hint="give a delay, a loss, …")
        super().__init__(trial, links, effects, plane=plane)


class NetworkRate(ShapedLinks):
    """A narrow link."""

    name = "network-rate"
    summary = (
        "Limits what each destination of the links gets, in all, to a rate (tbf, so it is the same "
        "on every kernel); what would wait longer than 400 ms is dropped."
    )
    parameters = (
        PLANE,
        Parameter("rate", rate, "bit/s", "the rate"),
    )
    kind = "tbf"
    needs = ("nftables", "htb", "tbf")

    #: A bucket must hold a frame that offloading has made of many (64 KiB), or it never passes;
    #: tbf takes such a frame apart when the bucket is smaller.
    _BUCKET = 16 * 1024
    _LATENCY = 0.4

    def __init__(
        self, trial: Trial, links: Links, *, rate: float, plane: str | Plane = EVERYTHING
    ) -> None:
        super().__init__(trial, links, plane=plane)
        if not isinstance(rate, int | float) or not 8_000 <= rate <= 10_000_000_000:
            raise UsageError(f"a rate of {rate} bit/s cannot be", hint="from 8kbit to 10gbit")
        self.rate = round(rate)

    def settings(self) -> dict[str, Any]:
        """The rate."""
        return {"rate": self.rate}

    def leaf(self) -> str:
        """A token bucket."""
        return (
            f"tbf rate {self.rate}bit burst {self._BUCKET} latency {round(self._LATENCY * 1000)}ms"
        )

    def wrong_with(self, options: dict[str, Any]) -> str:
        """What the bucket does otherwise than it was told."""
        told = 8 * int(options.get("rate", 0))  # tc's JSON has bytes a second
        return "" if abs(told - self.rate) <= 8 else f"its rate is {told} bit/s"
