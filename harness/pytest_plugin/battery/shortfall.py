"""How many of its tasks a service lacked, and for how long: what a stack without users notices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from harness.probes.containers import Life


@dataclass(frozen=True)
class Shortfall:
    """The most tasks that were missing at one moment, and the seconds in which any were."""

    most: int
    seconds: float

    @classmethod
    def of(cls, lives: Iterable[Life], wanted: int, *, since: float, until: float) -> Shortfall:
        """Return what of ``wanted`` tasks was missing from ``since`` to ``until`` (trial seconds).

        What runs is what the kernel says, whatever managers believe.
        """
        spans = [(life.started, life.ended) for life in lives]
        moments = {since} | {
            t for span in spans for t in span if t is not None and since < t < until
        }
        edges = [*sorted(moments), until]
        most, seconds = 0, 0.0
        for begun, ended in pairwise(edges):
            there = sum(s <= begun and (e is None or begun < e) for s, e in spans)
            if (missing := wanted - there) > 0:
                most, seconds = max(most, missing), seconds + ended - begun
        return cls(most, round(seconds, 3))
