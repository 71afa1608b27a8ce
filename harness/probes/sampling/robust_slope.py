"""Growth of a sampled quantity, by methods that a few wild samples cannot bend.

The slope is Theil's and Sen's: the median of the slopes between all pairs of samples (Sen 1968,
Journal of the American Statistical Association 63). Its confidence interval is Sen's, from the
variance of Kendall's S; neighbouring samples of a process resemble each other, so it is narrower
than the truth. What comes before the series has settled is left out by MSER (White 1997,
Simulation 69): the start is cut where the standard error of the mean of the rest is least, at
most half of the series.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

#: Samples below which no slope is given: fewer pairs than 28 say nothing about an interval.
LEAST = 8

#: Of the standard normal distribution, for 95 % of both sides.
_Z = 1.959964


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
    """The index from which on a series has settled, by MSER.

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
    """The trend of ``values`` (any unit) at ``times`` (s); None when too few have settled."""
    cut = settled_at(values)
    points = list(zip(times[cut:], values[cut:], strict=True))
    if len(points) < LEAST:
        return None
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(points, 2)
        if later[0] > earlier[0]
    )
    if not slopes:
        return None
    count = len(points)
    spread = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(slopes) - spread) / 2) - 1)
    high = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    return Trend(statistics.median(slopes), slopes[low], slopes[high], points[0][0], count)
