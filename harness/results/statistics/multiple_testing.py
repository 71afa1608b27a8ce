"""Judge all measures of one comparison together, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.statistics.contrast import Contrast, contrast, contrast_shares
from harness.results.statistics.correction import adjusted_p_values, measures_counted
from harness.results.statistics.judgement import ALPHA, Judgement, judge_contrast
from harness.results.statistics.sample import Sample
from harness.trial import Direction


@dataclass(frozen=True)
class MeasurePair:
    """One measure on two non-empty sides. ``floor``: the smallest shift that counts."""

    baseline: Sample
    candidate: Sample
    better: Direction = "lower"
    floor: float = 0.0
    share: bool = False


@dataclass(frozen=True)
class PairResult:
    """The result for one measure; ``adjusted`` is its p after correction for all measures."""

    contrast: Contrast
    adjusted: float
    judgement: Judgement


def judge_all(pairs: Sequence[MeasurePair], *, alpha: float = ALPHA) -> list[PairResult]:
    """Judge all measures of one comparison at once, in their order."""
    contrasts = [
        (contrast_shares if pair.share else contrast)(pair.baseline, pair.candidate)
        for pair in pairs
    ]
    counted = measures_counted(contrasts, alpha)
    return [
        PairResult(
            found,
            p,
            judge_contrast(
                found,
                better=pair.better,
                floor=pair.floor,
                adjusted=p,
                measures=counted,
                alpha=alpha,
            ),
        )
        for pair, found, p in zip(
            pairs, contrasts, adjusted_p_values(contrasts, alpha), strict=True
        )
    ]
