"""``faults.network``: every fault of the network, as a method that says what it takes."""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import UsageError
from harness.faults.group import FaultGroup
from harness.faults.links import Direction, Links, Place, Places, names_of
from harness.faults.network import partition_shapes
from harness.faults.network.drop_faults import (
    MtuBlackHole,
    NetworkCut,
    NetworkFlapping,
    NetworkLoss,
)
from harness.faults.network.node_stack_faults import (
    ConnectionsReset,
    ConntrackFlushed,
    FirewallRulesLost,
    NeighboursForgotten,
)
from harness.faults.network.queue_faults import (
    NetworkCorrupt,
    NetworkDelay,
    NetworkDuplicate,
    NetworkImpaired,
    NetworkLossBursts,
    NetworkLossStates,
    NetworkRate,
    NetworkReorder,
)
from harness.faults.planes import EVERYTHING, IP, Plane
from harness.lab import NamespacesLab, Node
from harness.trial import Trial


class NetworkFaults(FaultGroup):
    """Faults on links of one lab, and on what nodes keep about their network.

    Links are given as :class:`Links` (``faults.network.links(...)``) or as places: one or several
    nodes or client hosts, which means the links between them and everybody else, both ways. Shares
    are of 1, times in seconds. Each fault holds for as long as its ``with`` block lasts.
    """

    def __init__(self, trial: Trial, lab: NamespacesLab | None) -> None:
        super().__init__(trial)
        self._lab = lab

    def links(self, a: Places, b: Places | None = None, *, direction: Direction = "both") -> Links:
        """Links between two groups (default: between the first and all other places).

        ``direction`` is seen from ``a``: "out" is what it sends, "in" what it hears.
        """
        return Links.between(self._the_lab(), a, b, direction=direction)

    # -- nothing passes ------------------------------------------------------------------------

    def cut(self, links: Links | Places, *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Every packet of a plane is dropped, without a word."""
        return NetworkCut(self._trial, self._links(links), plane=plane)

    def isolate(self, places: Places, *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """These are cut off from everybody else, and go on hearing each other."""
        return self.cut(places, plane=plane)

    def blackout(self, places: Places) -> NetworkCut:
        """Every frame to and from these is dropped: the cables are pulled."""
        return self.cut(places, plane=EVERYTHING)

    def flap(
        self,
        links: Links | Places,
        *,
        down: float = 5.0,
        up: float = 5.0,
        plane: str | Plane = EVERYTHING,
    ) -> NetworkFlapping:
        """A cut that comes for ``down`` seconds and goes for ``up`` seconds, over and over."""
        return NetworkFlapping(self._trial, self._links(links), plane=plane, down=down, up=up)

    def partition(self, *groups: Places, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Nobody hears anybody of another group; who is in none hears all."""
        names = [names_of(group) for group in groups]
        words = " | ".join(" ".join(group) for group in names)
        return self._shape(partition_shapes.groups(*names), words, plane)

    def halves(self, places: Iterable[Place], *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Two parts that do not hear each other, the first the smaller one."""
        names = [place.name for place in places]
        return self._shape(partition_shapes.halves(names), f"halves of {' '.join(names)}", plane)

    def bridge(self, places: Iterable[Place], *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Two parts that do not hear each other, and one in the middle that both hear."""
        names = [place.name for place in places]
        return self._shape(partition_shapes.bridge(names), f"bridge of {' '.join(names)}", plane)

    def ring(self, places: Iterable[Place], *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Everybody hears a majority, and no two hear the same one."""
        names = [place.name for place in places]
        return self._shape(partition_shapes.ring(names), f"ring of {' '.join(names)}", plane)

    def one_way(
        self, sources: Places, destinations: Places, *, plane: str | Plane = EVERYTHING
    ) -> NetworkCut:
        """The destinations do not hear the sources, but are heard by them."""
        links = Links.between(self._the_lab(), sources, destinations, direction="out")
        return self.cut(links, plane=plane)

    def mtu_black_hole(
        self, links: Links | Places, *, size: int = 1400, plane: str | Plane = IP
    ) -> MtuBlackHole:
        """IP packets of more than ``size`` bytes vanish, and no ICMP says why."""
        return MtuBlackHole(self._trial, self._links(links), size=size, plane=plane)

    # -- some of it passes ---------------------------------------------------------------------

    def loss(
        self, links: Links | Places, share: float, *, plane: str | Plane = EVERYTHING
    ) -> NetworkLoss:
        """Each packet is lost with the same probability, each for itself."""
        return NetworkLoss(self._trial, self._links(links), share=share, plane=plane)

    def bursts(
        self,
        links: Links | Places,
        *,
        to_bad: float,
        to_good: float,
        bad_loss: float = 1.0,
        good_loss: float = 0.0,
        plane: str | Plane = EVERYTHING,
    ) -> NetworkLossBursts:
        """Bursts of loss by Gilbert and Elliott's model; probabilities are per packet."""
        return NetworkLossBursts(
            self._trial,
            self._links(links),
            to_bad=to_bad,
            to_good=to_good,
            bad_loss=bad_loss,
            good_loss=good_loss,
            plane=plane,
        )

    def loss_states(
        self,
        links: Links | Places,
        *,
        p13: float,
        p31: float = 1.0,
        p32: float = 0.0,
        p23: float = 1.0,
        p14: float = 0.0,
        plane: str | Plane = EVERYTHING,
    ) -> NetworkLossStates:
        """Loss by netem's Markov chain of four states; probabilities are per packet."""
        return NetworkLossStates(
            self._trial,
            self._links(links),
            p13=p13,
            p31=p31,
            p32=p32,
            p23=p23,
            p14=p14,
            plane=plane,
        )

    # -- it passes otherwise -------------------------------------------------------------------

    def delay(
        self,
        links: Links | Places,
        delay: float,
        *,
        jitter: float = 0.0,
        distribution: str = "normal",
        plane: str | Plane = EVERYTHING,
    ) -> NetworkDelay:
        """Packets come ``delay`` later, each way; ``jitter`` is the distribution's width."""
        return NetworkDelay(
            self._trial,
            self._links(links),
            delay=delay,
            jitter=jitter,
            distribution=distribution,
            plane=plane,
        )

    def duplicate(
        self, links: Links | Places, share: float, *, plane: str | Plane = EVERYTHING
    ) -> NetworkDuplicate:
        """A share of the packets comes twice."""
        return NetworkDuplicate(self._trial, self._links(links), share=share, plane=plane)

    def corrupt(
        self, links: Links | Places, share: float, *, plane: str | Plane = IP
    ) -> NetworkCorrupt:
        """A share of the packets has one bit flipped."""
        return NetworkCorrupt(self._trial, self._links(links), share=share, plane=plane)

    def reorder(
        self,
        links: Links | Places,
        share: float,
        *,
        delay: float = 0.01,
        plane: str | Plane = EVERYTHING,
    ) -> NetworkReorder:
        """All packets are delayed but a share of them, which overtakes the others."""
        return NetworkReorder(
            self._trial, self._links(links), share=share, delay=delay, plane=plane
        )

    def rate(
        self, links: Links | Places, rate: float, *, plane: str | Plane = EVERYTHING
    ) -> NetworkRate:
        """Each destination gets at most ``rate`` bits a second over these links, in all."""
        return NetworkRate(self._trial, self._links(links), rate=rate, plane=plane)

    def impair(
        self,
        links: Links | Places,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        corrupt: float = 0.0,
        reorder: float = 0.0,
        plane: str | Plane = EVERYTHING,
    ) -> NetworkImpaired:
        """Several of these at once, for the same packets."""
        return NetworkImpaired(
            self._trial,
            self._links(links),
            delay=delay,
            jitter=jitter,
            loss=loss,
            duplicate=duplicate,
            corrupt=corrupt,
            reorder=reorder,
            plane=plane,
        )

    # -- what a node keeps about its network ---------------------------------------------------

    def reset_connections(self, node: Node, *, plane: str | Plane = IP) -> ConnectionsReset:
        """A node's TCP connections of a plane end at once; new ones come up as ever."""
        return ConnectionsReset(self._trial, node, plane=plane)

    def flush_conntrack(self, node: Node) -> ConntrackFlushed:
        """A node forgets which connections it tracks, in all its network namespaces."""
        return ConntrackFlushed(self._trial, node)

    def lose_firewall_rules(self, node: Node) -> FirewallRulesLost:
        """A node loses every iptables rule of its own, as by a reload of firewalld."""
        return FirewallRulesLost(self._trial, node)

    def forget_neighbours(self, node: Node) -> NeighboursForgotten:
        """A node's overlay networks lose what they know of the tasks on other nodes."""
        return NeighboursForgotten(self._trial, node)

    # -- within --------------------------------------------------------------------------------

    def _shape(self, cut: partition_shapes.Cut, words: str, plane: str | Plane) -> NetworkCut:
        return self.cut(Links.single(self._the_lab(), cut, words=words), plane=plane)

    def _links(self, links: Links | Places) -> Links:
        return links if isinstance(links, Links) else self.links(links)

    def _the_lab(self) -> NamespacesLab:
        if self._lab is None:
            raise UsageError("faults of the network need a lab to be made for")
        return self._lab
