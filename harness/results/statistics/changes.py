"""Change points in a history: from which run on a measure is another.

The stretch of runs is looked for whose ranks differ most from those of all others, at an end or
in the middle (so that what came and went is found too). It counts if of all orders of the same
values at most ``alpha`` have one as good: a permutation test of the whole search, so looking
everywhere costs nothing. Then each piece is searched again, and at last every change point must
hold between the two stretches beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.results.statistics.permutation import rank_test
from harness.results.statistics.sample import Floats, Sample

ALPHA = 0.01
"""Of 100 histories in which nothing changes at most one is said to have changed."""

LEAST = 5
"""Runs in a stretch, at least."""

MOST = 120
"""Runs that are looked at: the youngest. A search takes time with their square."""

_ORDERS = 1999
_BATCH = 100
_SEED = 20261123

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """From run ``at`` (counted from 0) on it is another: medians of the stretches beside it.

    ``p``: the chance of two such stretches if nothing changed between them.
    """

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
    skipped = max(0, len(values) - MOST)
    series = np.asarray(values[skipped:], dtype=np.float64)
    cuts = _cuts(series, 0, len(series), alpha)
    while True:
        edges = [0, *cuts, len(series)]
        found = [
            _change(series, before, at, after, skipped)
            for before, at, after in zip(edges, edges[1:], edges[2:], strict=False)
        ]
        weak = [cut for cut, change in zip(cuts, found, strict=True) if change.p > alpha]
        if not weak:
            return tuple(change for change in found if abs(change.shift) > floor)
        # One at a time: without it the stretches beside it are longer, and tell more.
        cuts.remove(max(weak, key=lambda cut: found[cuts.index(cut)].p))


def _change(series: Floats, start: int, at: int, end: int, skipped: int) -> Change:
    before, after = series[start:at], series[at:end]
    p = rank_test(Sample.of(before), Sample.of(after)).p
    return Change(at + skipped, float(np.median(before)), float(np.median(after)), p)


def _cuts(series: Floats, start: int, end: int, alpha: float) -> list[int]:
    piece = series[start:end]
    if len(piece) < 2 * LEAST or np.ptp(piece) == 0:
        return []
    found = _stretch(stats.rankdata(piece), alpha)
    if found is None:
        return []
    cuts = [start + cut for cut in found if 0 < cut < len(piece)]
    edges = [start, *cuts, end]
    inside = [_cuts(series, edges[n], edges[n + 1], alpha) for n in range(len(edges) - 1)]
    return sorted([*cuts, *(cut for some in inside for cut in some)])


def _stretch(ranks: Floats, alpha: float) -> tuple[int, int] | None:
    """The stretch that differs most from all else, if that is no chance."""
    begins, ends = _stretches(len(ranks))
    own = _distances(ranks[None, :], begins, ends)[0]
    best = int(own.argmax())
    rng = np.random.default_rng(_SEED)
    asfar, drawn = 0, 0
    while drawn < _ORDERS:
        count = min(_BATCH, _ORDERS - drawn)
        orders = rng.permuted(np.tile(ranks, (count, 1)), axis=1)
        asfar += int((_distances(orders, begins, ends).max(axis=1) >= own[best] - 1e-9).sum())
        drawn += count
        # Enough of them to know how it ends.
        if asfar + 1 > alpha * (_ORDERS + 1):
            return None
    return int(begins[best]), int(ends[best])


@lru_cache(maxsize=256)
def _stretches(length: int) -> tuple[Places, Places]:
    """Where stretches may begin and end, so that they and what is left are long enough."""
    pairs = [
        (begin, end)
        for begin in (0, *range(LEAST, length - LEAST + 1))
        for end in (*range(begin + LEAST, length - LEAST + 1), length)
        if LEAST <= end - begin <= length - LEAST
    ]
    return np.asarray([b for b, _ in pairs]), np.asarray([e for _, e in pairs])


def _distances(ranks: Floats, begins: Places, ends: Places) -> Floats:
    """How far each stretch's ranks lie from what they would be by chance, by row."""
    length = ranks.shape[1]
    sums = np.zeros((len(ranks), length + 1))
    np.cumsum(ranks - ranks.mean(axis=1, keepdims=True), axis=1, out=sums[:, 1:])
    sizes = ends - begins
    spread = np.sqrt(sizes * (length - sizes))
    return np.asarray(np.abs(sums[:, ends] - sums[:, begins]) / spread, dtype=np.float64)
