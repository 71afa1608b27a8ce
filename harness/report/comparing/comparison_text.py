"""Findings of a comparison in words."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.formatting import number
from harness.report.sanitize import plain
from harness.results.comparison import Comparison, Finding, Pairing, Values
from harness.results.statistics import Word

MARKS: Mapping[Word, str] = {
    "regressed": "✗",
    "different": "≠",
    "improved": "✓",
    "inconclusive": "?",
    "within noise": "≈",
    "same": "=",
}
"""A sign for each word, so that nothing is told by colour alone."""

TONES: Mapping[Word, str] = {
    "regressed": "bad",
    "different": "unknown",
    "improved": "good",
    "inconclusive": "unknown",
    "within noise": "plain",
    "same": "plain",
}

MEANINGS: Mapping[Word, str] = {
    "regressed": "worse: not by chance, and by more than what counts",
    "different": "differs: not by chance, and by more than what counts; neither way is better",
    "improved": "better: not by chance, and by more than what counts",
    "inconclusive": "not enough trials to tell",
    "within noise": "no more than trials of one side differ by, or than what counts",
    "same": "certainly no difference that counts",
}


def scenario_name(finding: Finding) -> str:
    """The scenario's short name, with the engine where several were held apart."""
    name = plain(finding.scenario.rpartition("::")[2]).removeprefix("test_")
    return f"{name}, {plain(finding.engine)}" if finding.engine else name


def is_share(finding: Finding) -> bool:
    """Whether the measure reads best in percent."""
    values = (*finding.baseline.values, *finding.candidate.values)
    return finding.unit == "1" and all(0 <= value <= 1 for value in values)


def amount(value: float, finding: Finding) -> str:
    """A value in the measure's unit."""
    unit = " %" if is_share(finding) else "" if finding.unit == "1" else f" {finding.unit}"
    return _bare(value, finding) + unit


def middle_of(values: Values, finding: Finding) -> float:
    """What stands for all trials: the mean of a share, else the median."""
    return sum(values.values) / len(values.values) if finding.unit == "1" else values.median


def chance(p: float) -> str:
    """A p value, as exact as anybody needs it."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def values_of(values: Values, finding: Finding) -> str:
    """Median, or the mean of a share, with the range."""
    cut = "> " if any(values.censored) else ""
    if values.least == values.most:
        return cut + amount(values.least, finding)
    low, high = (_bare(value, finding) for value in (values.least, values.most))
    return f"{amount(middle_of(values, finding), finding)} ({low} to {cut}{high})"


def shift_of(finding: Finding) -> str:
    """How far the candidate lies from the baseline, signed."""
    return _signed(finding.shift, finding) + _shift_unit(finding)


def interval_of(finding: Finding) -> str:
    """What the shift may be, at 95 %."""
    low, high, unit = finding.low, finding.high, _shift_unit(finding)
    if low is None and high is None:
        return "may be anything"
    if low is None:
        return f"up to {_signed(high or 0.0, finding)}{unit}"
    if high is None:
        return f"from {_signed(low, finding)}{unit} on"
    return f"{_signed(low, finding)} to {_signed(high, finding)}{unit}"


def headline_of(pairing: Pairing) -> str:
    """How a side came out against the baseline, the worst first."""
    if not pairing.findings:
        return "nothing could be compared"
    told = [f"{count} {word}" for word, count in pairing.counts.items() if count]
    return ", ".join(told)


def sentence_of(finding: Finding) -> str:
    """A finding in one sentence."""
    return (
        f"{scenario_name(finding)}: {plain(finding.measure)} {finding.word}, {shift_of(finding)} "
        f"(95 %: {interval_of(finding)}); {finding.because}"
    )


def promise_of(comparison: Comparison) -> str:
    """What the words stand for, in numbers."""
    return (
        f"Where nothing differs, at most {100 * comparison.alpha:g} % of comparisons call anything "
        f"regressed or improved. Intervals are of {100 * comparison.level:g} % and each stands for "
        "itself."
    )


def _signed(value: float, finding: Finding) -> str:
    words = _bare(abs(value), finding)
    if words == "0":
        return words
    return ("\N{MINUS SIGN}" if value < 0 else "+") + words


def _bare(value: float, finding: Finding) -> str:
    return number(round(100 * value, 4)) if is_share(finding) else number(value)


def _shift_unit(finding: Finding) -> str:
    """A share moves by points: percent of what it was would be another thing."""
    if is_share(finding):
        return " points"
    return "" if finding.unit == "1" else f" {finding.unit}"
