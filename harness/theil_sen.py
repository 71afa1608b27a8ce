"""Theil and Sen's slope: a growth that single wild samples cannot bend, with its interval.

The slope is the median of the slopes between all pairs of samples; its interval is Sen's, from the
variance of Kendall's S (Sen 1968, Journal of the American Statistical Association 63). In plain
Python: a guest, where memory is sampled, would take seconds to import scipy.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

#: Of the standard normal distribution, for 95 % of both sides.
_Z = 1.959964


class SlopeInterval(NamedTuple):
    """A slope, in the unit of the values per unit of time, and its 95 % interval."""

    slope: float
    low: float
    high: float


def theil_sen(times: Sequence[float], values: Sequence[float]) -> SlopeInterval | None:
    """Return the slope of ``values`` over ``times``; None if all times are one.

    Where the ranks of the interval's ends fall between two slopes, it is the wider one.
    """
    points = list(zip(times, values, strict=True))
    slopes = sorted(
        (value - other) / (time - another)
        for (another, other), (time, value) in combinations(points, 2)
        if time != another
    )
    if not slopes:
        return None
    variance = _ties(len(points)) - sum(map(_ties, Counter(times).values()))
    variance -= sum(map(_ties, Counter(values).values()))
    reach = _Z * math.sqrt(max(0.0, variance) / 18)
    low = max(0, math.floor((len(slopes) - reach) / 2) - 1)
    high = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return SlopeInterval(statistics.median(slopes), slopes[low], slopes[high])


def _ties(count: int) -> int:
    """The share of so many equal samples in the variance of Kendall's S, times 18."""
    return count * (count - 1) * (2 * count + 5)
