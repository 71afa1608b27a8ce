"""Change points in a history: the runs from which on a measure is different.

The search looks for the stretch of runs whose ranks differ most from those of all others, at an
end or in the middle (so that a temporary change is found too). A stretch counts if at most
``alpha`` of all orders of the same values have one as extreme: a permutation test of the whole
search, so searching everywhere is already accounted for. Then each piece is searched again, and
finally every change point must be significant between the two stretches beside it.
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
"""The share of histories without any change in which one is reported."""

LEAST = 5
"""The fewest runs in a stretch."""

MOST = 120
"""How many of the latest runs are searched; the time grows with their square."""

_ORDERS = 1999
_BATCH = 100
_SEED = 20261123

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """A change at run ``at`` (counted from 0), with the medians of the stretches around it.

    ``p``: the chance of two such stretches if nothing changed between them.
    """

    at: int
    before: float
    after: float
    p: float

    @property
    def shift(self) -> float:
        """After minus before, in the measure's unit."""
        return self.after - self.before


def changes(
    values: Sequence[float], *, alpha: float = ALPHA, floor: float = 0.0
) -> tuple[Change, ...]:
    """Return the change points of a series in order, without shifts up to ``floor``.

    A series of fewer than ``2 * LEAST`` values is too short and has none.
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
        # One at a time: without it the stretches around it are longer and the tests stronger.
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
    """Return the stretch that differs most from the rest, if significant."""
    begins, ends = _stretches(len(ranks))
    own = _distances(ranks[None, :], begins, ends)[0]
    best = int(own.argmax())
    rng = np.random.default_rng(_SEED)
    as_extreme, shuffled = 0, 0
    while shuffled < _ORDERS:
        count = min(_BATCH, _ORDERS - shuffled)
        orders = rng.permuted(np.tile(ranks, (count, 1)), axis=1)
        as_extreme += int((_distances(orders, begins, ends).max(axis=1) >= own[best] - 1e-9).sum())
        shuffled += count
        # The outcome is certain already.
        if as_extreme + 1 > alpha * (_ORDERS + 1):
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
