"""``faults.network``: every fault of the network, as a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from harness.errors import UsageError
from harness.faults.factory import made_by, require_fit
from harness.faults.links import Direction, Links, Place, Places, names_of
from harness.faults.network import partition_shapes
from harness.faults.network.drop_faults import (
    MtuBlackHole,
    NetworkCut,
    NetworkFlapping,
    NetworkLoss,
)
from harness.faults.network.link_fault import LinkFault
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
from harness.faults.planes import EVERYTHING, Plane
from harness.lab import Lab
from harness.trial import Trial

P = ParamSpec("P")
F = TypeVar("F", bound=LinkFault)


class made_on_links(Generic[P, F]):  # noqa: N801 - used like a decorator
    """A method that makes faults of one class on links, which may be given as places."""

    def __init__(self, kind: Callable[Concatenate[Trial, Links, P], F]) -> None:
        self._kind = kind
        self.__doc__ = kind.__doc__

    def __get__(
        self, group: NetworkFaults, owner: type[Any]
    ) -> Callable[Concatenate[Links | Places, P], F]:
        """Return the method of one group."""

        def make(on: Links | Places, /, *args: P.args, **kwargs: P.kwargs) -> F:
            links = on if isinstance(on, Links) else group.links(on)
            require_fit(self._kind, group.trial, links, *args, **kwargs)
            return self._kind(group.trial, links, *args, **kwargs)

        return make


@dataclass(frozen=True)
class NetworkFaults:
    """Faults on links of one lab, and on what nodes keep about their network.

    Links are given as :class:`Links` (``faults.network.links(...)``) or as places: one or several
    nodes or client hosts, which means the links between them and all other places, both ways.
    Shares are of 1, times in seconds. Each fault holds for as long as its ``with`` block lasts. ::

        with faults.network.cut(worker, plane="gossip"), faults.network.delay(leader, 0.2):
            ...
    """

    trial: Trial
    lab: Lab | None

    def links(self, a: Places, b: Places | None = None, *, direction: Direction = "both") -> Links:
        """Return the links between two groups (default: between the first and all other places).

        ``direction`` is seen from ``a``: "out" is what it sends, "in" what it receives.
        """
        return Links.between(self._the_lab(), a, b, direction=direction)

    def links_among(self, places: Iterable[Place]) -> Links:
        """Return the links between every two of these places, both ways."""
        names = [place.name for place in places]
        text = f"mesh of {' '.join(names)}"
        return Links.from_pairs(self._the_lab(), partition_shapes.mesh(names), text=text)

    # -- nothing passes ------------------------------------------------------------------------

    cut = made_on_links(NetworkCut)
    flap = made_on_links(NetworkFlapping)
    mtu_black_hole = made_on_links(MtuBlackHole)

    def isolate(self, places: Places, *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Cut places off from all others; among themselves they still communicate."""
        return self.cut(places, plane=plane)

    def blackout(self, places: Places) -> NetworkCut:
        """Drop every frame to and from each place: their cables are pulled."""
        cables = [Links.by_name(self._the_lab(), [name]) for name in names_of(places)]
        if not cables:
            raise UsageError("a blackout needs at least one place")
        return self.cut(reduce(or_, cables), plane=EVERYTHING)

    def partition(self, *groups: Places, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Cut groups off from each other; a place in no group reaches all."""
        names = [names_of(group) for group in groups]
        text = " | ".join(" ".join(group) for group in names)
        return self._shape(partition_shapes.groups(*names), text, plane)

    def halves(self, places: Iterable[Place], *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Cut places into two parts, the first the smaller one."""
        names = [place.name for place in places]
        return self._shape(partition_shapes.halves(names), f"halves of {' '.join(names)}", plane)

    def bridge(self, places: Iterable[Place], *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Cut places into two parts, and one place in the middle that reaches both."""
        names = [place.name for place in places]
        return self._shape(partition_shapes.bridge(names), f"bridge of {' '.join(names)}", plane)

    def ring(self, places: Iterable[Place], *, plane: str | Plane = EVERYTHING) -> NetworkCut:
        """Have every place receive from a majority, no two from the same one."""
        names = [place.name for place in places]
        return self._shape(partition_shapes.ring(names), f"ring of {' '.join(names)}", plane)

    def one_way(
        self, sources: Places, destinations: Places, *, plane: str | Plane = EVERYTHING
    ) -> NetworkCut:
        """Drop what the sources send to the destinations, and nothing the other way."""
        return self.cut(self.links(sources, destinations, direction="out"), plane=plane)

    # -- some of it passes, or late, or changed ------------------------------------------------

    loss = made_on_links(NetworkLoss)
    bursts = made_on_links(NetworkLossBursts)
    loss_states = made_on_links(NetworkLossStates)
    delay = made_on_links(NetworkDelay)
    duplicate = made_on_links(NetworkDuplicate)
    corrupt = made_on_links(NetworkCorrupt)
    reorder = made_on_links(NetworkReorder)
    rate = made_on_links(NetworkRate)
    impair = made_on_links(NetworkImpaired)

    # -- what a node keeps about its network ---------------------------------------------------

    reset_connections = made_by(ConnectionsReset)
    flush_conntrack = made_by(ConntrackFlushed)
    lose_firewall_rules = made_by(FirewallRulesLost)
    forget_neighbours = made_by(NeighboursForgotten)

    # -- within --------------------------------------------------------------------------------

    def _shape(self, cut: partition_shapes.Cut, text: str, plane: str | Plane) -> NetworkCut:
        return self.cut(Links.from_pairs(self._the_lab(), cut, text=text), plane=plane)

    def _the_lab(self) -> Lab:
        if self.lab is None:
            raise UsageError("faults of the network need a lab")
        return self.lab
