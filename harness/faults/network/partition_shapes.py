"""Shapes: links among a number of places that belong together, such as those a partition cuts.

A shape is a set of directed links, as (source, destination): pure, so that what its
name promises can be tested for every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.errors import UsageError

Cut = frozenset[tuple[str, str]]


def groups(*parts: Iterable[str]) -> Cut:
    """Return the cut of all links between parts."""
    split = [frozenset(part) for part in parts]
    if len(split) < 2 or not all(split):
        raise UsageError("a partition has at least two groups, and none of them is empty")
    if sum(map(len, split)) != len(frozenset().union(*split)):
        raise UsageError("a place cannot be in two groups of a partition")
    return frozenset(
        (a, b) for one in split for other in split if one is not other for a in one for b in other
    )


def halves(names: Sequence[str]) -> Cut:
    """Return the cut into two parts, the first the smaller one when they are not equal."""
    _want(names, 2)
    middle = len(names) // 2
    return groups(names[:middle], names[middle:])


def bridge(names: Sequence[str]) -> Cut:
    """Return the cut into two parts, with one place in the middle that reaches both."""
    _want(names, 3)
    middle = len(names) // 2
    return groups(names[:middle], names[middle + 1 :])


def ring(names: Sequence[str]) -> Cut:
    """Return the cut after which every place receives from a majority, no two from the same one.

    Places are arranged in a circle, and each receives from its nearest neighbours, as many as make
    a majority with itself. Where that is an odd number, one more is on the right; the links at
    the edge are then cut one way.
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


def mesh(names: Sequence[str]) -> Cut:
    """Return the links between every two places."""
    _want(names, 2)
    return groups(*([name] for name in names))


SHAPES: Mapping[str, Callable[[Sequence[str]], Cut]] = {
    "halves": halves,
    "bridge": bridge,
    "ring": ring,
    "mesh": mesh,
}
"""Shapes of one group, by name."""


def _want(names: Sequence[str], least: int) -> None:
    if len(set(names)) != len(names):
        raise UsageError("a place is named twice")
    if len(names) < least:
        raise UsageError(f"this shape needs at least {least} places, and there are {len(names)}")
