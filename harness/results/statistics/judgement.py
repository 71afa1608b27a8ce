"""Judge a contrast: regressed, improved, different, same, within noise or inconclusive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import comb
from typing import Literal, get_args

from harness.results.statistics.contrast import Contrast
from harness.trial import Direction

ComparisonOutcome = Literal[
    "regressed", "improved", "different", "same", "within noise", "inconclusive"
]

COMPARISON_OUTCOMES: tuple[ComparisonOutcome, ...] = get_args(ComparisonOutcome)

ALPHA = 0.05
"""The share of comparisons without any difference in which one is reported all the same."""

MATERIAL = 2.0
"""The stated minimum effect: a shift of this many times the spread from trial to trial."""


@dataclass(frozen=True)
class Judgement:
    """The outcome, and the reason for it as a clause without a full stop."""

    outcome: ComparisonOutcome
    reason: str


def trials_needed(measures: int, alpha: float = ALPHA) -> int:
    """Return how many trials per side the clearest difference needs among ``measures``."""
    trials = 2
    while 2 / comb(2 * trials, trials) * max(1, measures) > alpha:
        trials += 1
    return trials


def judge_contrast(
    contrast: Contrast,
    *,
    better: Direction,
    floor: float,
    adjusted: float,
    measures: int,
    alpha: float = ALPHA,
) -> Judgement:
    """Judge one measure among ``measures``; ``adjusted`` is its p after correction.

    ``floor`` is the smallest shift that counts, in the measure's unit.

    * regressed, improved: the difference is significant (``adjusted`` at most ``alpha``) and
      larger than the floor; "different" if the measure has no better direction.
    * same: no shift larger than the floor is possible, by its confidence interval.
    * within noise: a difference smaller than the floor; or none that stands out from the spread
      between trials, and none as large as the stated minimum effect.
    * inconclusive: anything else, above all too few trials.
    """
    inside = max(abs(contrast.low), abs(contrast.high))
    # The typical trial may stay while some go far out: then the mean moves.
    if inside <= floor and abs(contrast.mean_shift) <= floor:
        return Judgement("same", "any difference is below the noise floor")
    if adjusted <= alpha:
        return _difference(contrast, better, floor, adjusted)
    if not contrast.bounded:
        return Judgement("inconclusive", "too few trials")
    chance = ""
    if contrast.p <= alpha:
        chance = (
            f": significant on its own (p = {contrast.p:.2g}), but not after correction for "
            f"{measures} measures"
        )
        if contrast.smallest_p * measures > alpha:
            chance += f", which takes at least {trials_needed(measures, alpha)} trials per side"
    if inside <= max(floor, MATERIAL * contrast.spread):
        return Judgement("within noise", f"no larger than the spread between trials{chance}")
    return Judgement(
        "inconclusive",
        f"too few trials{chance or ': the difference may be large'}",
    )


def _difference(contrast: Contrast, better: Direction, floor: float, adjusted: float) -> Judgement:
    sign = math.copysign(1.0, contrast.delta)
    # Half of all pairs may be ties while the rest are far apart; then the mean shows it.
    shift = max(sign * contrast.shift, sign * contrast.mean_shift)
    p = "p < 0.001" if adjusted < 0.001 else f"p = {adjusted:.2g}"
    chance = f"{p} after correction"
    if shift <= floor:
        return Judgement("within noise", f"significant ({chance}), but below the noise floor")
    if better == "none":
        return Judgement("different", chance)
    worse = (sign > 0) == (better == "lower")
    return Judgement("regressed" if worse else "improved", chance)
