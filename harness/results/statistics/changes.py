"""Change points in a history: from which run on a measure is another.

The series is split where the ranks before and after differ most; the split counts if of all
orders of the same values at most ``alpha`` have one as good (a permutation test of the whole
search, so looking at every place costs nothing). Then both halves are searched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.01
"""Of 100 histories in which nothing changes at most one is said to have changed."""

LEAST = 5
"""Runs before and after a change point, at least."""

_ORDERS = 1999
_SEED = 20261123


@dataclass(frozen=True)
class Change:
    """From run ``at`` (counted from 0) on it is another: medians of the stretches beside it."""

    at: int
    before: float
    after: float
    p: float

    @property
    def shift(self) -> float:
        """After less before, in the measure's unit."""
        return self.after - self.before


def changes(
    values: Sequence[float], *, alpha: float = ALPHA, floor: float = 0.0
) -> tuple[Change, ...]:
    """The change points of a series, in order. Shifts up to ``floor`` are not told.

    A series of fewer than ``2 * LEAST`` values has none: it is too short to tell.
    """
    series = np.asarray(values, dtype=np.float64)
    splits = sorted(_splits(series, 0, alpha))
    edges = [0, *(at for at, _ in splits), len(series)]
    found = (
        Change(
            at,
            float(np.median(series[edges[number] : at])),
            float(np.median(series[at : edges[number + 2]])),
            p,
        )
        for number, (at, p) in enumerate(splits)
    )
    return tuple(change for change in found if abs(change.shift) > floor)


def _splits(series: NDArray[np.float64], offset: int, alpha: float) -> Iterator[tuple[int, float]]:
    if len(series) < 2 * LEAST or np.ptp(series) == 0:
        return
    ranks = stats.rankdata(series)
    best, at = _best(ranks[None, :])
    rng = np.random.default_rng(_SEED)
    orders = rng.permuted(np.tile(ranks, (_ORDERS, 1)), axis=1)
    others, _ = _best(orders)
    p = (1 + int((others >= best[0] - 1e-9).sum())) / (1 + _ORDERS)
    if p > alpha:
        return
    split = int(at[0])
    yield offset + split, p
    yield from _splits(series[:split], offset, alpha)
    yield from _splits(series[split:], offset + split, alpha)


def _best(ranks: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The largest standardised distance of rank sums over all places, and its place, by row."""
    length = ranks.shape[1]
    places = np.arange(LEAST, length - LEAST + 1)
    before = np.cumsum(ranks - ranks.mean(axis=1, keepdims=True), axis=1)[:, places - 1]
    distance = np.abs(before) / np.sqrt(places * (length - places))
    where = distance.argmax(axis=1)
    return distance[np.arange(len(ranks)), where], places[where]
