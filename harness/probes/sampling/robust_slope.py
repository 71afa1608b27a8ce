"""Growth of a sampled quantity once it has settled, by methods that wild samples cannot bend.

The slope is that of :mod:`harness.theil_sen`; neighbouring samples of a process resemble each
other, so its interval is narrower than the truth. What comes before the series has settled is left
out by MSER (White 1997, Simulation 69): the start is cut where the standard error of the mean of
the rest is least, at most half of the series.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.theil_sen import theil_sen

#: Samples below which no slope is given: fewer pairs than 28 say nothing about an interval.
LEAST = 8


@dataclass(frozen=True)
class Trend:
    """A slope per second, its 95 % interval, and what it was taken from.

    ``settled`` is the time from which on samples were used, ``samples`` their number.
    """

    slope: float
    low: float
    high: float
    settled: float
    samples: int

    @property
    def grows(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0


def settled_at(values: Sequence[float]) -> int:
    """Return the index from which on a series has settled, by MSER.

    At most the middle, and no more is cut than leaves enough for a slope.
    """
    best, where = math.inf, 0
    for cut in range(max(0, min(len(values) // 2, len(values) - LEAST)) + 1):
        rest = values[cut:]
        if len(rest) < 2:
            break
        error = statistics.pvariance(rest) / len(rest)
        if error < best:
            best, where = error, cut
    return where


def trend_of(times: Sequence[float], values: Sequence[float]) -> Trend | None:
    """Return the trend of ``values`` (any unit) at ``times`` (s); None if too few have settled."""
    cut = settled_at(values)
    points = list(zip(times[cut:], values[cut:], strict=True))
    if len(points) < LEAST:
        return None
    found = theil_sen([t for t, _ in points], [value for _, value in points])
    return found and Trend(*found, settled=points[0][0], samples=len(points))
