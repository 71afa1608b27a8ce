"""Exact permutation tests: of rank scores, ties and "longer than" included, and of means.

By ranks, each value scores how many of all values are certainly below it less how many are
certainly above it (Gehan 1965; without censoring, and but for a factor, Mann and Whitney's U). A
censored value is at least where the watching ended: it is above every known value up to there, and
of two censored ones, or of one and a larger known value, nothing is said.

If it made no difference which side a trial belongs to, every way of dealing the pooled scores to
the two sides would be as likely as any other. There are too many to list and few different sums,
so the sums are counted: the distribution is exact at any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from harness.results.statistics.sample import Flags, Floats, Sample

_TOLERANCE = 1e-9

# Steps between the smallest and the largest of values whose means are compared, times their number.
_GRID = 20_000


@dataclass(frozen=True)
class PermutationResult:
    """A permutation test. ``smallest_p`` is the smallest ``p`` these values can give at all.

    ``delta`` is Cliff's: the share of pairs in which the second is certainly larger less that in
    which it is certainly smaller; -1 to 1.
    """

    p: float
    smallest_p: float
    delta: float


def rank_test(first: Sample, second: Sample) -> PermutationResult:
    """Two-sided test whether the second sample tends to be larger or smaller than the first."""
    scores = scores_of(
        np.concatenate([first.array, second.array]), np.concatenate([first.flags, second.flags])
    )
    size = len(second)
    observed = int(scores[len(first) :].sum())
    p, least = _two_sided(tuple(sorted(scores.tolist())), size, observed)
    return PermutationResult(p, least, observed / (len(first) * size))


def mean_test(first: Sample, second: Sample) -> PermutationResult:
    """Two-sided test whether the means differ.

    Values are put on a grid between the smallest and the largest first, so that their sums can be
    counted; the test is exact for what is on the grid. ``delta`` is of ranks, as everywhere.
    """
    pooled = np.concatenate([first.array, second.array])
    size = len(second)
    delta = int(scores_of(pooled, np.zeros(len(pooled), np.bool_))[len(first) :].sum())
    delta_share = delta / (len(first) * size)
    extent = float(np.ptp(pooled))
    if extent == 0:
        return PermutationResult(1.0, 1.0, delta_share)
    grid = np.rint((pooled - pooled.min()) / extent * max(200, _GRID // size)).astype(np.int64)
    centred = len(pooled) * grid - grid.sum()
    p, least = _two_sided(tuple(sorted(centred.tolist())), size, int(centred[len(first) :].sum()))
    return PermutationResult(p, least, delta_share)


def scores_of(values: Floats, censored: Flags) -> NDArray[np.int64]:
    """Of each value, how many are certainly below it less how many are certainly above it."""
    larger = values[:, None] > values[None, :]
    reaches = censored[:, None] & (values[:, None] >= values[None, :])
    above = ~censored[None, :] & (larger | reaches)
    return np.asarray(above.sum(axis=1) - above.sum(axis=0), dtype=np.int64)


def smallest_p(first: int, second: int) -> float:
    """Return the smallest two-sided p for samples of these sizes, when no values are equal."""
    return min(1.0, 2 / comb(first + second, first))


@lru_cache(maxsize=4096)
def _two_sided(scores: tuple[int, ...], size: int, observed: int) -> tuple[float, float]:
    sums, chances = _null(scores, size)
    distances = np.abs(sums)
    p = float(chances[distances >= abs(observed) - _TOLERANCE].sum())
    possible = distances[chances > 0]
    least = float(chances[distances >= possible.max() - _TOLERANCE].sum())
    return min(1.0, p), min(1.0, least)


@lru_cache(maxsize=64)
def _null(scores: tuple[int, ...], size: int) -> tuple[NDArray[np.int64], Floats]:
    """All sums of ``size`` of the scores, and the chance of each."""
    lowest = min(scores)
    steps = np.asarray(scores, dtype=np.int64) - lowest
    unit = max(1, int(np.gcd.reduce(steps)))
    steps //= unit
    most = int(np.sort(steps)[-size:].sum())
    ways = np.zeros((size + 1, most + 1))
    ways[0, 0] = 1.0
    for taken, step in enumerate(steps.tolist(), start=1):
        # From the longest hand down: each score is dealt at most once.
        for hand in range(min(taken, size), 0, -1):
            ways[hand, step:] += ways[hand - 1, : most + 1 - step]
    sums = np.arange(most + 1, dtype=np.int64) * unit + lowest * size
    return sums, ways[size] / ways[size].sum()


@lru_cache(maxsize=1024)
def pairs_outside(first: int, second: int, level: float) -> int | None:
    """Return how many of the ordered pairwise differences an interval leaves out at each end.

    None: the samples are too small for an interval of that ``level`` (Hodges and Lehmann 1963,
    Moses 1965).
    """
    sums, chances = _null(tuple(range(1 - first - second, first + second, 2)), second)
    tails = np.cumsum(chances)
    far = np.flatnonzero((chances > 0) & (2 * tails <= 1 - level + _TOLERANCE))
    if not len(far):
        return None
    # A sum is twice Mann and Whitney's U less the number of pairs.
    return (int(sums[far[-1]]) + first * second) // 2
