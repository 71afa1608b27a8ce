"""The latency heatmap: how many requests took how long, by slices of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.timeline_data import Request

_PER_DECADE = 6
_SHORTEST = 1e-5


@dataclass(frozen=True)
class LatencyHeatmap:
    """Counts of requests in cells: ``counts[row][column]``.

    ``times`` and ``lengths`` are edges in seconds, one more than columns and rows; lengths grow by
    a sixth of a decade from row to row.
    """

    times: tuple[float, ...]
    lengths: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def most(self) -> int:
        """The fullest cell."""
        return max((n for row in self.counts for n in row), default=0)


def latency_heatmap(
    requests: Sequence[Request], starts: Sequence[float], width: float
) -> LatencyHeatmap:
    """Count ``requests`` into slices that begin at ``starts`` and are ``width`` seconds long."""
    if not requests or not starts:
        return LatencyHeatmap((), (), ())
    rows = [_row(r.took) for r in requests]
    low, high = min(rows), max(rows)
    counts = [[0] * len(starts) for _ in range(high - low + 1)]
    for request, row in zip(requests, rows, strict=True):
        column = math.floor((request.t - starts[0]) / width + 1e-9)
        if 0 <= column < len(starts):
            counts[row - low][column] += 1
    return LatencyHeatmap(
        (*starts, round(starts[-1] + width, 3)),
        tuple(float(f"{10 ** (n / _PER_DECADE):.4g}") for n in range(low, high + 2)),
        tuple(tuple(row) for row in counts),
    )


def _row(took: float) -> int:
    return math.floor(math.log10(max(took, _SHORTEST)) * _PER_DECADE)
