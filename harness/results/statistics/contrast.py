"""How far two samples lie apart: test, effect, confidence interval, spread.

Times and amounts are contrasted by ranks: an exact permutation test, and Hodges and Lehmann's
shift (the median of all pairwise differences) with the interval that belongs to that test. Shares
(50x of all requests) are contrasted by their means, because one bad trial in ten is what they are
about: a permutation test of the difference of means, and a bootstrap that resamples whole trials.
A trial is one observation: its requests share one outage and are not independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.results.statistics.permutation import mean_test, pairs_outside, rank_test, smallest_p
from harness.results.statistics.sample import Floats, Sample

LEVEL = 0.95
"""Of the confidence intervals. They are not widened for the number of measures."""

_RESAMPLES = 1999
_SEED = 20261123

# The median of |x - y| for two draws from one normal distribution is this many standard deviations.
_PAIR_TO_SD = 0.9538726


@dataclass(frozen=True)
class Contrast:
    """The second sample against the first.

    ``shift``, ``low`` and ``high`` are in the measure's unit; an unbounded end is
    infinite. ``mean_shift`` is the difference of means, censored values taken as they are.
    ``smallest_p`` is the smallest ``p`` that these values can give. ``spread`` is the standard
    deviation among trials of one side.
    """

    shift: float
    mean_shift: float
    low: float
    high: float
    p: float
    smallest_p: float
    delta: float
    spread: float

    @property
    def bounded(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def contrast(first: Sample, second: Sample) -> Contrast:
    """Times and amounts: by ranks. Both samples need a value."""
    outcome = rank_test(first, second)
    differences = np.sort((second.array[None, :] - first.array[:, None]).ravel())
    low, high = _shift_interval(first, second)
    return Contrast(
        shift=float(np.median(differences)),
        mean_shift=_mean_shift(first, second),
        low=low,
        high=high,
        p=outcome.p,
        smallest_p=outcome.smallest_p,
        delta=outcome.delta,
        spread=spread_of(first, second),
    )


def contrast_shares(first: Sample, second: Sample) -> Contrast:
    """Shares: by means, resampling whole trials. Both samples need a value."""
    outcome = mean_test(first, second)
    shift = _mean_shift(first, second)
    low, high = _mean_interval(first, second)
    return Contrast(
        shift=shift,
        mean_shift=shift,
        low=low,
        high=high,
        p=outcome.p,
        smallest_p=outcome.smallest_p,
        delta=outcome.delta,
        spread=_pooled_deviation(first, second),
    )


def spread_of(first: Sample, second: Sample) -> float:
    """Return the robust standard deviation among trials of one side."""
    gaps = np.concatenate([_gaps(first.array), _gaps(second.array)])
    return float(np.median(gaps)) / _PAIR_TO_SD if len(gaps) else 0.0


def _gaps(values: Floats) -> Floats:
    below, above = np.triu_indices(len(values), k=1)
    return np.asarray(np.abs(values[below] - values[above]), dtype=np.float64)


def _mean_shift(first: Sample, second: Sample) -> float:
    return float(second.array.mean() - first.array.mean())


def _shift_interval(first: Sample, second: Sample) -> tuple[float, float]:
    """The interval of the shift; a difference that may be anything counts as far out."""
    outside = pairs_outside(len(first), len(second), LEVEL)
    if outside is None:
        return -math.inf, math.inf
    differences = second.array[None, :] - first.array[:, None]
    # A candidate "longer than" may lie anywhere above, a baseline one pulls the difference down.
    at_least = np.where(first.flags[:, None], -math.inf, differences)
    at_most = np.where(second.flags[None, :], math.inf, differences)
    low = np.sort(at_least.ravel())[outside]
    high = np.sort(at_most.ravel())[-1 - outside]
    return float(low), float(high)


def _mean_interval(first: Sample, second: Sample) -> tuple[float, float]:
    """The interval of the difference of means, resampling whole trials.

    Percentiles of so few trials lie too close together: the level is raised as Hesterberg (2015,
    "What Teachers Should Know About the Bootstrap", the expanded percentile interval) has it.
    """
    if smallest_p(len(first), len(second)) > 1 - LEVEL:
        return -math.inf, math.inf
    if np.ptp(first.array) == 0 and np.ptp(second.array) == 0:
        shift = _mean_shift(first, second)
        return shift, shift
    fewest = min(len(first), len(second))
    reach = stats.t.ppf((1 + LEVEL) / 2, fewest - 1) * math.sqrt(fewest / (fewest - 1))
    drawn = stats.bootstrap(
        (second.array, first.array),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        vectorized=True,
        n_resamples=_RESAMPLES,
        confidence_level=float(2 * stats.norm.cdf(reach) - 1),
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def _pooled_deviation(first: Sample, second: Sample) -> float:
    squares = sum(float(((s.array - s.array.mean()) ** 2).sum()) for s in (first, second))
    freedom = len(first) + len(second) - 2
    return math.sqrt(squares / freedom) if freedom > 0 else 0.0
