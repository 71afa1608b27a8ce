"""Links: between which places on the fabric a network fault acts, and in which directions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.errors import UsageError
from harness.lab import ClientHost, Lab, Node

Place: TypeAlias = Node | ClientHost
"""Somewhere on the fabric."""

Places: TypeAlias = Place | Iterable[Place]

Direction = Literal["both", "out", "in"]
"""Seen from the first group: what it sends ("out"), what it hears ("in"), or both."""

_ARROWS: dict[str, str] = {"both": "<->", "out": "->", "in": "<-"}


@dataclass(frozen=True)
class DirectedLinks:
    """Links from every source to every destination.

    No destinations (or sources) means all other places, whichever they will be: a client host that
    joins the fabric later belongs to them.
    """

    sources: frozenset[str]
    destinations: frozenset[str]

    def __post_init__(self) -> None:
        if not self.sources and not self.destinations:
            raise UsageError("links from all places to all have no ends: name at least one place")
        if both := self.sources & self.destinations:
            raise UsageError(f"there is no link from {', '.join(sorted(both))} to itself")

    def pairs(self, everybody: Iterable[str]) -> frozenset[tuple[str, str]]:
        """Return its single links among ``everybody``, as (source, destination)."""
        names = frozenset(everybody)
        sources = self.sources or names - self.destinations
        destinations = self.destinations or names - self.sources
        return frozenset((a, b) for a in sources & names for b in destinations & names)


class Links:
    """Links between places of one lab: the target of every network fault.

    ::

        faults.network.links(leader, followers, direction="out")  # what the followers hear of it
    """

    def __init__(self, lab: Lab, directed: Iterable[DirectedLinks], *, text: str) -> None:
        self.lab = lab
        self.directed = tuple(dict.fromkeys(directed))
        self.text = text
        """As people write it: ``w1 <-> m1 m2``, ``w1 -> *``."""
        if not self.directed:
            raise UsageError("there are no links between these places")
        for name in sorted(self.named):
            if name not in lab.nodes and name not in lab.client_hosts:
                known = ", ".join([*lab.nodes, *lab.client_hosts])
                raise UsageError(f"there is no {name} on the fabric", hint=f"there are: {known}")

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Links {self.text}>"

    @classmethod
    def between(
        cls,
        lab: Lab,
        a: Places,
        b: Places | None = None,
        *,
        direction: Direction = "both",
    ) -> Links:
        """Return every link between two groups; without ``b``, to all other places.

        ``direction`` is seen from ``a``. Raises :class:`UsageError` when a place is in both, and
        when ``a`` is every node: the links that are left, to client hosts, are hardly meant.
        """
        left = names_of(a)
        right = names_of(b) if b is not None else ()
        if not left or (b is not None and not right):
            raise UsageError("links need a place at both ends, and one group is empty")
        return cls.by_name(lab, left, right, direction=direction)

    @classmethod
    def by_name(
        cls,
        lab: Lab,
        left: Iterable[str],
        right: Iterable[str] = (),
        *,
        direction: Direction = "both",
    ) -> Links:
        """Return what :meth:`between` returns, for names of places."""
        if direction not in _ARROWS:
            raise UsageError(
                f"there is no direction {direction!r}", hint=f"one of: {', '.join(_ARROWS)}"
            )
        a, b = frozenset(left), frozenset(right)
        if not b and len(a) > 1 and a >= lab.nodes.keys():
            raise UsageError(
                f"{_list(a)} are all nodes: nothing is at the other end but client hosts",
                hint=f"name both ends: mesh of {_list(a)} for the links between nodes, "
                f"{_list(a)} <-> client for those to a client host",
            )
        there, back = DirectedLinks(a, b), DirectedLinks(b, a)
        directed = {"both": (there, back), "out": (there,), "in": (back,)}[direction]
        text = f"{_list(a)} {_ARROWS[direction]} {_list(b)}"
        return cls(lab, directed, text=text)

    @classmethod
    def from_pairs(cls, lab: Lab, pairs: Iterable[tuple[str, str]], *, text: str = "") -> Links:
        """Return single links, each from a source to a destination by name."""
        by_source: dict[str, set[str]] = {}
        for source, destination in pairs:
            by_source.setdefault(source, set()).add(destination)
        directed = [
            DirectedLinks(frozenset({source}), frozenset(heard))
            for source, heard in sorted(by_source.items())
        ]
        default = ", ".join(f"{_list(d.sources)} -> {_list(d.destinations)}" for d in directed)
        return cls(lab, directed, text=text or default)

    def __or__(self, other: Links) -> Links:
        """Return these links and those."""
        if self.lab is not other.lab:
            raise UsageError("links of two labs cannot be joined")
        return Links(self.lab, self.directed + other.directed, text=f"{self.text}, {other.text}")

    @property
    def named(self) -> frozenset[str]:
        """The places it names; where one end is "all other places", those are not in it."""
        return frozenset().union(*(d.sources | d.destinations for d in self.directed))

    def pairs(self) -> frozenset[tuple[str, str]]:
        """Return its single links among the places that there are now, as (source, destination)."""
        everybody = [*self.lab.nodes, *self.lab.client_hosts]
        return frozenset().union(*(directed.pairs(everybody) for directed in self.directed))

    def place(self, name: str) -> Place:
        """Return a place of the lab by its name."""
        return self.lab.client_hosts[name] if name in self.lab.client_hosts else self.lab.node(name)


def names_of(places: Places) -> tuple[str, ...]:
    """Return the names of one place or of several, sorted."""
    if isinstance(places, Iterable):
        return tuple(sorted({place.name for place in places}))
    return (places.name,)


def _list(names: frozenset[str]) -> str:
    return " ".join(sorted(names)) or "*"
