"""Partition shapes: which of a number of places cannot hear which.

A shape is a set of directed links that are cut, as (source, destination): pure, so that what its
name promises can be tested for every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.errors import UsageError

Cut = frozenset[tuple[str, str]]


def groups(*parts: Iterable[str]) -> Cut:
    """Nobody hears anybody of another part."""
    split = [frozenset(part) for part in parts]
    if len(split) < 2 or not all(split):
        raise UsageError("a partition has at least two groups, and none of them is empty")
    if sum(map(len, split)) != len(frozenset().union(*split)):
        raise UsageError("a place cannot be in two groups of a partition")
    return frozenset(
        (a, b) for one in split for other in split if one is not other for a in one for b in other
    )


def isolated(alone: str, names: Sequence[str]) -> Cut:
    """One hears nobody, and nobody hears it."""
    _want(names, 2)
    return groups([alone], [name for name in names if name != alone])


def halves(names: Sequence[str]) -> Cut:
    """Two parts, the first the smaller one when they cannot be equal."""
    _want(names, 2)
    middle = len(names) // 2
    return groups(names[:middle], names[middle:])


def bridge(names: Sequence[str]) -> Cut:
    """Two halves, and one in the middle that hears both and is heard by both."""
    _want(names, 3)
    middle = len(names) // 2
    return groups(names[:middle], names[middle + 1 :])


def ring(names: Sequence[str]) -> Cut:
    """Everybody hears a majority, and no two hear the same one.

    Places stand in a circle, and each hears its nearest neighbours, as many as make a majority
    with itself. Where they cannot be as many on both sides, one more is heard on the right; the
    links at the edge are then cut one way.
    """
    _want(names, 3)
    count = len(names)
    majority = count // 2 + 1
    left = (majority - 1) // 2
    right = majority - 1 - left
    cut = set()
    for place in range(count):
        heard = {(place + step) % count for step in range(-left, right + 1)}
        cut |= {(names[other], names[place]) for other in range(count) if other not in heard}
    return frozenset(cut)


def one_way(sources: Iterable[str], destinations: Iterable[str]) -> Cut:
    """The destinations do not hear the sources, and are heard by them."""
    a, b = frozenset(sources), frozenset(destinations)
    if not a or not b or a & b:
        raise UsageError("a one-way cut has two groups with nobody in common")
    return frozenset((source, destination) for source in a for destination in b)


SHAPES: Mapping[str, Callable[[Sequence[str]], Cut]] = {
    "halves": halves,
    "bridge": bridge,
    "ring": ring,
}
"""Shapes of one group, by name."""


def _want(names: Sequence[str], least: int) -> None:
    if len(set(names)) != len(names):
        raise UsageError("a place is named twice")
    if len(names) < least:
        raise UsageError(f"this shape needs at least {least} places, and there are {len(names)}")
