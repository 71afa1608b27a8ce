"""Shares of bad requests over several trials, resampled by trial and not by request.

The requests of a trial go through one and the same outage: ten thousand of them say no more about
the next outage than the trial does. Intervals that count requests are far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.results.statistics.contrast import LEVEL

_RESAMPLES = 4999
_SEED = 20261123


@dataclass(frozen=True)
class Rate:
    """A share and its interval; ``low`` and ``high`` are 0 and 1 where trials are too few."""

    share: float
    low: float
    high: float
    trials: int


def rate_of(trials: Sequence[tuple[int, int]]) -> Rate:
    """Return the share of bad requests over ``trials``, each given as (bad, all).

    Raises ``ValueError`` if there was no request at all.
    """
    bad = np.asarray([b for b, _ in trials], dtype=np.float64)
    total = np.asarray([t for _, t in trials], dtype=np.float64)
    if not total.sum() > 0:
        raise ValueError("a share of no requests")
    share = float(bad.sum() / total.sum())
    if len(trials) < 4:
        return Rate(share, 0.0, 1.0, len(trials))
    if np.ptp(bad * total.sum() - total * bad.sum()) == 0:
        return Rate(share, share, share, len(trials))
    count = len(trials)
    reach = stats.t.ppf((1 + LEVEL) / 2, count - 1) * math.sqrt(count / (count - 1))
    drawn = stats.bootstrap(
        (bad, total),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        confidence_level=float(2 * stats.norm.cdf(reach) - 1),
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    interval = drawn.confidence_interval
    return Rate(share, max(0.0, float(interval.low)), min(1.0, float(interval.high)), count)


def _ratio(
    bad: NDArray[np.float64], total: NDArray[np.float64], axis: int = -1
) -> NDArray[np.float64]:
    return np.asarray(np.sum(bad, axis=axis) / np.sum(total, axis=axis), dtype=np.float64)
