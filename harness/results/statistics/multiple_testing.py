"""All measures of one comparison, judged together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.statistics.contrast import Contrast, contrast, contrast_shares
from harness.results.statistics.correction import corrected, measures_counted
from harness.results.statistics.judgement import ALPHA, Judgement, judge_contrast
from harness.results.statistics.sample import Sample
from harness.trial import Direction


@dataclass(frozen=True)
class Question:
    """One measure of two sides; neither is empty. ``floor``: the smallest shift that counts."""

    baseline: Sample
    candidate: Sample
    better: Direction = "lower"
    floor: float = 0.0
    share: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a question; ``adjusted`` is its p after correction for all of them."""

    contrast: Contrast
    adjusted: float
    judgement: Judgement


def answer(questions: Sequence[Question], *, alpha: float = ALPHA) -> list[Answer]:
    """Judge all measures of one comparison at once, in their order."""
    contrasts = [
        (contrast_shares if question.share else contrast)(question.baseline, question.candidate)
        for question in questions
    ]
    counted = measures_counted(contrasts, alpha)
    return [
        Answer(
            found,
            p,
            judge_contrast(
                found,
                better=question.better,
                floor=question.floor,
                adjusted=p,
                measures=counted,
                alpha=alpha,
            ),
        )
        for question, found, p in zip(
            questions, contrasts, corrected(contrasts, alpha), strict=True
        )
    ]
