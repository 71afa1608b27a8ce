"""What numbers of several trials say, on scipy; the host's side alone has it.

:func:`answer` judges all measures of a comparison at once; :func:`rate_of`, :func:`slope_of` and
:func:`changes` give shares, growth and change points with what is needed to believe them.
"""

from harness.results.statistics.changes import Change, changes
from harness.results.statistics.contrast import LEVEL, Contrast, contrast, contrast_shares
from harness.results.statistics.correction import corrected
from harness.results.statistics.judgement import (
    ALPHA,
    MATERIAL,
    WORDS,
    Judgement,
    Word,
    judge_contrast,
    trials_needed,
)
from harness.results.statistics.multiple_testing import Answer, Question, answer
from harness.results.statistics.rates import Rate, rate_of
from harness.results.statistics.sample import Sample
from harness.results.statistics.slopes import Slope, slope_of

__all__ = [
    "ALPHA",
    "LEVEL",
    "MATERIAL",
    "WORDS",
    "Answer",
    "Change",
    "Contrast",
    "Judgement",
    "Question",
    "Rate",
    "Sample",
    "Slope",
    "Word",
    "answer",
    "changes",
    "contrast",
    "contrast_shares",
    "corrected",
    "judge_contrast",
    "rate_of",
    "slope_of",
    "trials_needed",
]
