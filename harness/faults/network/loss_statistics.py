"""Whether a number of lost packets fits the share that was asked for: exact binomial tails."""

from __future__ import annotations

import math

#: Half of what an interval at 99.9 % leaves out: this much in each tail.
_TAIL = 0.0005


def packets_needed(share: float) -> int:
    """Return the number of packets of which none is lost with a probability of 1 in 2000."""
    return 1 if share >= 1 else math.ceil(math.log(_TAIL) / math.log1p(-share))


def consistent(lost: int, seen: int, share: float) -> bool:
    """Return whether ``lost`` of ``seen`` packets fit a share (binomial interval at 99.9 %)."""
    if share >= 1:
        return lost == seen
    at_most = sum(_probability(count, seen, share) for count in range(lost + 1))
    at_least = 1 - at_most + _probability(lost, seen, share)
    return min(at_most, at_least) >= _TAIL


def _probability(count: int, of: int, share: float) -> float:
    ways = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    return math.exp(ways + count * math.log(share) + (of - count) * math.log1p(-share))
