"""Statistics over several trials, on scipy, which only the host has.

:func:`judge_all` judges all measures of a comparison at once; :func:`rate_of`, :func:`slope_of` and
:func:`changes` give shares, growth and change points with their intervals or p values.
"""

from harness.results.statistics.changes import Change, changes
from harness.results.statistics.contrast import LEVEL, Contrast, contrast, contrast_shares
from harness.results.statistics.correction import adjusted_p_values
from harness.results.statistics.judgement import (
    ALPHA,
    COMPARISON_OUTCOMES,
    MATERIAL,
    ComparisonOutcome,
    Judgement,
    judge_contrast,
    trials_needed,
)
from harness.results.statistics.multiple_testing import MeasurePair, PairResult, judge_all
from harness.results.statistics.planning import RECOMMENDED, trials_to_decide
from harness.results.statistics.rates import Rate, rate_of
from harness.results.statistics.sample import Sample
from harness.results.statistics.sequential import judge_in_sequence
from harness.results.statistics.slopes import Slope, slope_of

__all__ = [
    "ALPHA",
    "COMPARISON_OUTCOMES",
    "LEVEL",
    "MATERIAL",
    "RECOMMENDED",
    "Change",
    "ComparisonOutcome",
    "Contrast",
    "Judgement",
    "MeasurePair",
    "PairResult",
    "Rate",
    "Sample",
    "Slope",
    "adjusted_p_values",
    "changes",
    "contrast",
    "contrast_shares",
    "judge_all",
    "judge_contrast",
    "judge_in_sequence",
    "rate_of",
    "slope_of",
    "trials_needed",
    "trials_to_decide",
]
