"""From numbers to one word: regressed, improved, different, same, within noise, inconclusive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import comb
from typing import Literal, get_args

from harness.results.statistics.contrast import Contrast
from harness.trial import Direction

Word = Literal["regressed", "improved", "different", "same", "within noise", "inconclusive"]

WORDS: tuple[Word, ...] = get_args(Word)

ALPHA = 0.05
"""The share of comparisons without any difference in which one is told all the same."""

MATERIAL = 2.0
"""The stated minimum effect: a shift of this many times the spread from trial to trial."""


@dataclass(frozen=True)
class Judgement:
    """The word, and why, in a sentence without a full stop."""

    word: Word
    because: str


def trials_needed(measures: int, alpha: float = ALPHA) -> int:
    """How many trials of each side the clearest difference needs among so many measures."""
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

    * regressed, improved: the difference is not by chance (``adjusted`` at most ``alpha``) and
      larger than the floor; "different" if the measure has no better direction.
    * same: no shift larger than the floor is possible, by its confidence interval.
    * within noise: a difference that is smaller than the floor, or none that can be told from the
      spread, and none as large as the stated minimum effect.
    * inconclusive: anything else, above all too few trials.
    """
    inside = max(abs(contrast.low), abs(contrast.high))
    # The typical trial may stay while some go far out: then the mean moves.
    if inside <= floor and abs(contrast.mean_shift) <= floor:
        return Judgement("same", "any difference is smaller than what counts")
    if adjusted <= alpha:
        return _difference(contrast, better, floor, adjusted)
    if not contrast.bounded:
        return Judgement("inconclusive", "not enough trials to tell")
    chance = ""
    if contrast.p <= alpha:
        chance = (
            f": alone it would stand out (p = {contrast.p:.2g}), among {measures} measures it may "
            "be chance"
        )
        if contrast.least * measures > alpha:
            chance += f"; it takes {trials_needed(measures, alpha)} trials of each side at least"
    if inside <= max(floor, MATERIAL * contrast.spread):
        return Judgement("within noise", f"not to be told from the spread between trials{chance}")
    return Judgement(
        "inconclusive",
        f"not enough trials to tell{chance or ': the difference may be large'}",
    )


def _difference(contrast: Contrast, better: Direction, floor: float, adjusted: float) -> Judgement:
    sign = math.copysign(1.0, contrast.delta)
    # Half of all pairs may be ties while the rest is far apart: then the mean shows it.
    shift = max(sign * contrast.shift, sign * contrast.mean_shift)
    p = "p < 0.001" if adjusted < 0.001 else f"p = {adjusted:.2g}"
    chance = f"{p} after correction"
    if shift <= floor:
        return Judgement("within noise", f"a difference ({chance}), smaller than what counts")
    if better == "none":
        return Judgement("different", chance)
    worse = (sign > 0) == (better == "lower")
    return Judgement("regressed" if worse else "improved", chance)
