"""Faults that hold packets in a queue or change them: delay, bursts of loss, rate, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from weakref import WeakSet

from harness.errors import FaultError, HarnessError, MissingError, UsageError
from harness.faults.network import qdisc_tree, rules
from harness.faults.network.link_fault import PLANE_HELP, LinkFault, PacketCounts
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
from harness.faults.parameter import DURATION, PLANE, RATE, SHARE, SOME, one_of, parameter, state
from harness.faults.planes import Plane
from harness.lab import probe_features
from harness.wait import NotYet, wait_for

#: Every fault with a queue in this process; injected are those that have a slot.
_QUEUED: WeakSet[QueueFault] = WeakSet()

_PASSED_WITHIN = 5.0


class QueueFault(LinkFault):
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

    _watch: qdisc_tree.PortWatch | None = state(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        _QUEUED.add(self)

    def leaf(self) -> str:
        """Return the leaf, as tc's arguments."""
        raise NotImplementedError

    def mismatch(self, options: dict[str, Any]) -> str:
        """Return which of the leaf's settings is not as asked for; "" if they all are."""
        raise NotImplementedError

    @property
    def packet_counts(self) -> PacketCounts:
        """Packets that were dropped in its queues, and packets that entered them."""
        found = qdisc_tree.leaves(self.fabric, self.slot) if self.slot else []
        lost = sum(leaf.dropped for leaf in found)
        return PacketCounts(lost, lost + sum(leaf.passed + leaf.waiting for leaf in found))

    # -- its life ------------------------------------------------------------------------------

    def effect(self, slot: int) -> Sequence[str]:
        """Send packets into the slot's queue."""
        return [f"meta priority set {qdisc_tree.priority(slot)} counter name {rules.HIT}"]

    def precheck(self) -> None:
        """Require the qdiscs, free ports, and no other queue for the same packets."""
        super().precheck()
        for feature in self.needs:
            if not probe_features().has(feature):
                raise MissingError(
                    f"{self.name} needs {feature}, which this kernel does not have",
                    hint="use the microvm lab (--lab microvm), whose kernel has it",
                )
        for port, what in qdisc_tree.foreign(self.fabric, self._ports()).items():
            raise FaultError(f"the port of {port} carries a qdisc {what} that is not the harness's")
        for other in _QUEUED:
            if other is self or not other.slot or other.links.lab is not self.links.lab:
                continue
            if self.traffic.meets(other.traffic) and (
                both := self.links.pairs() & other.links.pairs()
            ):
                source, destination = min(both)
                raise FaultError(
                    f"{self.name} contradicts {other.name} on {other.links}: a packet from "
                    f"{source} to {destination} cannot wait in two queues",
                    hint="put both into one fault: faults.network.impair(...)",
                )

    def apply(self) -> None:
        """Attach the queues, then the rules that lead into them."""
        super().apply()
        qdisc_tree.attach(self.fabric, self._ports(), self.slot, self.leaf())
        self._watch = qdisc_tree.PortWatch(self.fabric, self._attach_again)

    def evidence(self) -> str:
        """Check that the kernel has the settings, and that the probes went into the queue."""
        found = qdisc_tree.leaves(self.fabric, self.slot)
        if not found:
            raise FaultError(f"{self.name} has no queue on any port of {self.links}")
        for leaf in found:
            if leaf.kind != self.kind or (wrong := self.mismatch(leaf.options)):
                what = wrong if leaf.kind == self.kind else f"it is a {leaf.kind}"
                raise FaultError(f"the queue at {leaf.port} is not as asked for: {what}")
        marked = super().evidence()
        count = self._counted(rules.HIT)

        def passed() -> int | NotYet:
            return self.packet_counts.seen or NotYet("no packet has been in the queues")

        if count:
            try:
                wait_for(passed, state="the queues", within=_PASSED_WITHIN, every=0.01)
            except HarnessError as error:
                raise FaultError(f"{self.name} shows no effect: {error.what}") from None
        at = ", ".join(sorted(leaf.port for leaf in found))
        return f"{self.leaf()} at {at}; {marked}"

    def evidence_text(self, sent: int, counted: int) -> str:
        """Return how many packets were led into the queues."""
        return f"{counted} packets were directed into it, {min(sent, counted)} of them probes"

    def undo(self) -> None:
        """Remove the rules, then the queues; what waits in them is lost."""
        watch, self._watch = self._watch, None
        try:
            if watch is not None:
                watch.end()
        finally:
            super().undo()
            if self.slot:
                qdisc_tree.detach(self.fabric, self.slot)

    def evidence_of_healing(self) -> str:
        """Check that neither rules nor queues are left."""
        if self.slot and (left := qdisc_tree.leaves(self.fabric, self.slot)):
            raise FaultError(f"the port of {left[0].port} still has the queue of {self.name}")
        return f"{super().evidence_of_healing()}, and its queues too"

    def _ports(self) -> set[str]:
        return {destination for _, destination in self.links.pairs()}

    def _attach_again(self) -> None:
        # Another process may have healed it meanwhile.
        if self._watch and self.slot and rules.table_of(self.slot) in self.fabric.tables():
            qdisc_tree.attach(self.fabric, self._ports(), self.slot, self.leaf())


class NetemFault(QueueFault):
    """What netem does to packets, by one or more of its effects."""

    needs = ("nftables", "htb", "netem")
    kind = "netem"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.leaf()  # effects that cannot be combined are refused now

    def effects(self) -> list[Effect]:
        """Return netem's effects, from the parameters."""
        raise NotImplementedError

    def leaf(self) -> str:
        """Return netem with all its effects."""
        return netem(self.effects())

    def mismatch(self, options: dict[str, Any]) -> str:
        """Return what netem does otherwise than asked for."""
        return read_back(self.effects(), options)


_DELAY = DURATION.between("0s", "60s")


class NetworkDelay(NetemFault):
    """Packets arrive later."""

    name = "network-delay"
    summary = (
        "Delays packets; with jitter by an amount drawn from a distribution, which reorders them."
    )

    delay: float = parameter(
        _DELAY, "added to each packet, in each direction of the links", kw_only=False
    )
    jitter: float = parameter(_DELAY, "the distribution's width", default="0s")
    distribution: str = parameter(
        one_of(*Delay.DISTRIBUTIONS), "how delays are drawn around their mean", default="normal"
    )

    def effects(self) -> list[Effect]:
        """Return one delay."""
        return [Delay(self.delay, self.jitter, self.distribution)]


class NetworkLossBursts(NetemFault):
    """The Gilbert-Elliott model: a good state and a bad one, each with a loss of its own."""

    name = "network-loss-bursts"
    summary = (
        "Loses packets in bursts (Gilbert-Elliott): a link is good or bad, and changes between "
        "the two from packet to packet. netem's correlated loss is not offered, because it "
        "does not keep its rate."
    )

    to_bad: float = parameter(SHARE, "probability, per packet, that a good link turns bad")
    to_good: float = parameter(SHARE, "probability, per packet, that a bad link turns good")
    bad_loss: float = parameter(SHARE, "loss while it is bad", default="100%")
    good_loss: float = parameter(SHARE, "loss while it is good", default="0%")

    def effects(self) -> list[Effect]:
        """Return the bursts."""
        return [Burst(self.to_bad, self.to_good, self.bad_loss, self.good_loss)]


class NetworkLossStates(NetemFault):
    """netem's four-state Markov model of loss."""

    name = "network-loss-states"
    summary = (
        "Loses packets by a Markov chain of four states: 1 received in a gap, 2 received within a "
        "burst, 3 lost within a burst, 4 lost alone in a gap."
    )

    p13: float = parameter(SHARE, "from received to a burst of losses")
    p31: float = parameter(SHARE, "from a burst back to received", default="100%")
    p32: float = parameter(SHARE, "from lost to received within a burst", default="0%")
    p23: float = parameter(SHARE, "from received to lost within a burst", default="100%")
    p14: float = parameter(SHARE, "a single loss outside bursts", default="0%")

    def effects(self) -> list[Effect]:
        """Return the chain."""
        return [FourStates(self.p13, self.p31, self.p32, self.p23, self.p14)]


class NetworkDuplicate(NetemFault):
    """Some packets arrive twice."""

    name = "network-duplicate"
    summary = "Sends a share of the packets twice."

    share: float = parameter(SOME, "the share that is sent twice", kw_only=False)

    def effects(self) -> list[Effect]:
        """Return the duplication."""
        return [Duplicate(self.share)]


class NetworkCorrupt(NetemFault):
    """Some packets have one bit wrong."""

    name = "network-corrupt"
    summary = "Flips one bit in a share of the packets; receivers drop most of them by checksum."

    share: float = parameter(SOME, "the share that has a bit flipped", kw_only=False)
    plane: str | Plane = parameter(PLANE, PLANE_HELP, default="ip")

    def effects(self) -> list[Effect]:
        """Return the corruption."""
        return [Corrupt(self.share)]


class NetworkReorder(NetemFault):
    """Some packets overtake others."""

    name = "network-reorder"
    summary = "Delays packets but for a share of them, which go at once and so overtake the others."

    share: float = parameter(SOME, "the share that goes at once", kw_only=False)
    delay: float = parameter(_DELAY, "of the others", default="10ms")

    def effects(self) -> list[Effect]:
        """Return the delay, and who is spared it."""
        return [Delay(self.delay), Reorder(self.share)]


class NetworkImpaired(NetemFault):
    """Several of netem's effects at once."""

    name = "network-impaired"
    summary = "Delays, loses, duplicates, corrupts and reorders the same packets in one queue."

    delay: float = parameter(_DELAY, "added to each packet", default="0s")
    jitter: float = parameter(_DELAY, "the normal distribution's width", default="0s")
    loss: float = parameter(SHARE, "the share that is lost, each independently", default="0%")
    duplicate: float = parameter(SHARE, "the share that is sent twice", default="0%")
    corrupt: float = parameter(SHARE, "the share that has a bit flipped", default="0%")
    reorder: float = parameter(SHARE, "the share that is not delayed", default="0%")

    def effects(self) -> list[Effect]:
        """Return those effects that are not 0; :class:`UsageError` if all are."""
        effects: list[Effect] = []
        if self.delay or self.jitter:
            effects.append(Delay(self.delay, self.jitter))
        if self.loss:
            effects.append(Loss(self.loss))
        if self.duplicate:
            effects.append(Duplicate(self.duplicate))
        if self.corrupt:
            effects.append(Corrupt(self.corrupt))
        if self.reorder:
            effects.append(Reorder(self.reorder))
        if not effects:
            raise UsageError(f"{self.name} has no effect", hint="give a delay, a loss, …")
        return effects


class NetworkRate(QueueFault):
    """A narrow link."""

    name = "network-rate"
    summary = (
        "Limits what each destination of the links receives, in all, to a rate (tbf, so it is the "
        "same on every kernel); what would wait longer than 400 ms is dropped."
    )
    kind = "tbf"
    needs = ("nftables", "htb", "tbf")

    #: A bucket must hold a frame that offloading has made of many (64 KiB), or it never passes;
    #: tbf takes such a frame apart when the bucket is smaller.
    _BUCKET: ClassVar = 16 * 1024
    _LATENCY: ClassVar = 0.4

    rate: float = parameter(RATE, "the rate", kw_only=False)

    def leaf(self) -> str:
        """Return a token bucket."""
        return (
            f"tbf rate {self.rate}bit burst {self._BUCKET} latency {round(self._LATENCY * 1000)}ms"
        )

    def mismatch(self, options: dict[str, Any]) -> str:
        """Return what the bucket does otherwise than asked for."""
        rate = 8 * int(options.get("rate", 0))  # tc's JSON has bytes a second
        return "" if abs(rate - self.rate) <= 8 else f"its rate is {rate} bit/s"
