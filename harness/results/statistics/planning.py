"""How many trials would decide what is inconclusive: an estimate from those that there are."""

from __future__ import annotations

import math

from scipy import stats

from harness.results.statistics.contrast import LEVEL, Contrast
from harness.results.statistics.judgement import ALPHA, MATERIAL

RECOMMENDED = {10: 16, 50: 20}
"""Measures compared at once, and the trials of each side that find a shift of :data:`MATERIAL`."""

MOST = 999
"""No estimate is larger: the two sides are too close to the edge for any number to be said."""

_POWER = 0.8
_FEWEST = 4  # of each side; fewer have no interval (see `pairs_outside`)

# Ranks use this share of what the means of normal values would say: the asymptotic relative
# efficiency of Mann and Whitney's test, 3/pi.
_EFFICIENCY = 3 / math.pi


def trials_to_decide(
    found: Contrast,
    *,
    trials: int,
    floor: float,
    measures: int,
    share: bool = False,
    alpha: float = ALPHA,
) -> int:
    """Return about how many trials of each side in all decide a measure among ``measures``.

    ``trials`` are there, of the side that has fewer. It is decided once the difference stands out
    (Noether 1987 for ranks, with the power 0.8 and Bonferroni's correction), or once the interval
    lies within what counts as noise, whichever takes fewer trials if shift and spread stay as they
    are. From very few trials the number is rough.
    """
    usual = RECOMMENDED[10] if measures <= 10 else RECOMMENDED[50]
    if trials < 2 or found.spread == 0:
        return max(trials + 1, usual)
    needed = min(
        _to_stand_out(found, measures, share, alpha), _to_be_noise(found, floor, share=share)
    )
    return min(MOST, max(trials + 1, _FEWEST, math.ceil(needed)))


def _to_stand_out(found: Contrast, measures: int, share: bool, alpha: float) -> float:
    reach = _quantile(1 - alpha / 2 / max(1, measures)) + _quantile(_POWER)
    if share:
        effect = abs(found.shift) / found.spread
        return 2 * (reach / effect) ** 2 if effect else math.inf
    # Of a pair of trials, the chance that the second is the larger one, less a half.
    lead = abs(found.delta) / 2
    return reach**2 / (6 * lead**2) if lead else math.inf


def _to_be_noise(found: Contrast, floor: float, *, share: bool) -> float:
    room = max(floor, MATERIAL * found.spread) - abs(found.shift)
    if room <= 0:
        return math.inf
    efficiency = 1.0 if share else _EFFICIENCY
    return 2 * (_quantile((1 + LEVEL) / 2) * found.spread / room) ** 2 / efficiency


def _quantile(share: float) -> float:
    return float(stats.norm.ppf(share))
