"""Links: which places on the fabric a network fault stands between, and in which directions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.errors import UsageError
from harness.lab import ClientHost, NamespacesLab, Node

Place: TypeAlias = Node | ClientHost
"""Somewhere on the fabric."""

Places: TypeAlias = Place | Iterable[Place]

Direction = Literal["both", "out", "in"]
"""Seen from the first group: what it sends ("out"), what it hears ("in"), or both."""

_ARROWS: dict[str, str] = {"both": "<->", "out": "->", "in": "<-"}


@dataclass(frozen=True)
class Way:
    """From every source to every destination. No destinations (or sources): all other places.

    "All other" is meant as it will be: a client host that comes up later belongs to it.
    """

    sources: frozenset[str]
    destinations: frozenset[str]

    def __post_init__(self) -> None:
        if not self.sources and not self.destinations:
            raise UsageError("a link from everywhere to everywhere is between nobody")
        if both := self.sources & self.destinations:
            raise UsageError(f"there is no link from {', '.join(sorted(both))} to itself")

    def pairs(self, everybody: Iterable[str]) -> frozenset[tuple[str, str]]:
        """The single links of it among ``everybody``, as (source, destination)."""
        names = frozenset(everybody)
        sources = self.sources or names - self.destinations
        destinations = self.destinations or names - self.sources
        return frozenset((a, b) for a in sources & names for b in destinations & names)


class Links:
    """Links between places of one lab: the target of every network fault."""

    def __init__(self, lab: NamespacesLab, ways: Iterable[Way], *, words: str) -> None:
        self.lab = lab
        self.ways = tuple(dict.fromkeys(ways))
        self.words = words
        """As people write it: ``w1 <-> m1 m2``, ``w1 -> *``."""
        if not self.ways:
            raise UsageError("these links are between nobody")
        for name in sorted(self.named):
            if name not in lab.nodes and name not in lab.client_hosts:
                known = ", ".join([*lab.nodes, *lab.client_hosts])
                raise UsageError(f"there is no {name} on the fabric", hint=f"there are: {known}")

    def __str__(self) -> str:
        return self.words

    def __repr__(self) -> str:
        return f"<Links {self.words}>"

    @classmethod
    def between(
        cls,
        lab: NamespacesLab,
        a: Places,
        b: Places | None = None,
        *,
        direction: Direction = "both",
    ) -> Links:
        """Every link between two groups; without ``b``, between the first and all other places.

        ``direction`` is seen from ``a``. Raises :class:`UsageError` when a place is in both.
        """
        left = names_of(a)
        right = names_of(b) if b is not None else ()
        if not left or (b is not None and not right):
            raise UsageError("links need somebody at both ends, and one group is empty")
        return cls.among(lab, left, right, direction=direction)

    @classmethod
    def among(
        cls,
        lab: NamespacesLab,
        left: Iterable[str],
        right: Iterable[str] = (),
        *,
        direction: Direction = "both",
    ) -> Links:
        """As :meth:`between`, by names."""
        if direction not in _ARROWS:
            raise UsageError(
                f"there is no direction {direction!r}", hint=f"one of: {', '.join(_ARROWS)}"
            )
        a, b = frozenset(left), frozenset(right)
        there, back = Way(a, b), Way(b, a)
        ways = {"both": (there, back), "out": (there,), "in": (back,)}[direction]
        shown = f"{_list(a)} {_ARROWS[direction]} {_list(b)}"
        return cls(lab, ways, words=shown)

    @classmethod
    def single(
        cls, lab: NamespacesLab, pairs: Iterable[tuple[str, str]], *, words: str = ""
    ) -> Links:
        """Single links, each from a source to a destination by name."""
        by_source: dict[str, set[str]] = {}
        for source, destination in pairs:
            by_source.setdefault(source, set()).add(destination)
        ways = [
            Way(frozenset({source}), frozenset(heard))
            for source, heard in sorted(by_source.items())
        ]
        shown = ", ".join(f"{_list(way.sources)} -> {_list(way.destinations)}" for way in ways)
        return cls(lab, ways, words=words or shown)

    def __or__(self, other: Links) -> Links:
        """These links and those."""
        if self.lab is not other.lab:
            raise UsageError("links of two labs cannot be put together")
        return Links(self.lab, self.ways + other.ways, words=f"{self.words}, {other.words}")

    @property
    def named(self) -> frozenset[str]:
        """The places it names; where one end is "all other places", those are not in it."""
        return frozenset().union(*(way.sources | way.destinations for way in self.ways))

    def pairs(self) -> frozenset[tuple[str, str]]:
        """Its single links among the places that there are now, as (source, destination)."""
        everybody = [*self.lab.nodes, *self.lab.client_hosts]
        return frozenset().union(*(way.pairs(everybody) for way in self.ways))

    def place(self, name: str) -> Place:
        """A place of the lab by its name."""
        return self.lab.client_hosts[name] if name in self.lab.client_hosts else self.lab.node(name)


def names_of(places: Places) -> tuple[str, ...]:
    """The names of one place or of several, sorted."""
    if isinstance(places, Node | ClientHost):
        return (places.name,)
    return tuple(sorted({place.name for place in places}))


def _list(names: frozenset[str]) -> str:
    return " ".join(sorted(names)) or "*"
