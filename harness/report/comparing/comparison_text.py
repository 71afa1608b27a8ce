"""The findings of a comparison as text."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.sanitize import plain
from harness.results.comparison import Comparison, Finding, Pairing, Values
from harness.results.scenario_names import short_name
from harness.results.statistics import ComparisonOutcome
from harness.trial import number_text

MARKS: Mapping[ComparisonOutcome, str] = {
    "regressed": "✗",
    "different": "≠",
    "improved": "✓",
    "inconclusive": "?",
    "within noise": "≈",
    "same": "=",
}
"""A sign for each outcome, so that nothing is shown by colour alone."""

TONES: Mapping[ComparisonOutcome, str] = {
    "regressed": "bad",
    "different": "unknown",
    "improved": "good",
    "inconclusive": "unknown",
    "within noise": "plain",
    "same": "plain",
}

MEANINGS: Mapping[ComparisonOutcome, str] = {
    "regressed": "significantly worse, by more than the noise floor",
    "different": "significantly different, by more than the noise floor; no direction is better",
    "improved": "significantly better, by more than the noise floor",
    "inconclusive": "too few trials to tell",
    "within noise": "a difference within the spread between trials, or below the noise floor",
    "same": "any difference is below the noise floor, or all trials are byte-identical",
}


def scenario_name(finding: Finding) -> str:
    """Return the scenario's short name, with the engine if it was compared by engine."""
    name = plain(short_name(finding.scenario)).removeprefix("test_")
    return f"{name}, {plain(finding.engine)}" if finding.engine else name


def is_share(finding: Finding) -> bool:
    """Return whether to show the measure in percent."""
    values = (*finding.baseline.values, *finding.candidate.values)
    return finding.unit == "1" and all(0 <= value <= 1 for value in values)


def amount(value: float, finding: Finding) -> str:
    """Return a value with the measure's unit."""
    unit = " %" if is_share(finding) else "" if finding.unit == "1" else f" {finding.unit}"
    return _bare(value, finding) + unit


def centre_of(values: Values, finding: Finding) -> float:
    """Return the mean of a share, the median of anything else."""
    return sum(values.values) / len(values.values) if finding.unit == "1" else values.median


def p_text(p: float) -> str:
    """Return a p value with two significant digits."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def values_of(values: Values, finding: Finding) -> str:
    """Return the centre and the range of one side's values."""
    more = "more than " if any(values.censored) else ""
    if values.min == values.max:
        return more + amount(values.min, finding)
    low, high = (_bare(value, finding) for value in (values.min, values.max))
    return f"{amount(centre_of(values, finding), finding)} ({low} to {more}{high})"


def shift_of(finding: Finding) -> str:
    """Return the signed shift with its unit."""
    return _signed(finding.shift, finding) + _shift_unit(finding)


def interval_of(finding: Finding) -> str:
    """Return the interval of the shift."""
    low, high, unit = finding.low, finding.high, _shift_unit(finding)
    if low is None and high is None:
        return "unbounded"
    if low is None:
        return f"at most {_signed(high or 0.0, finding)}{unit}"
    if high is None:
        return f"at least {_signed(low, finding)}{unit}"
    return f"{_signed(low, finding)} to {_signed(high, finding)}{unit}"


def headline_of(pairing: Pairing) -> str:
    """Return how many measures of a side had each outcome, the worst first."""
    if not pairing.findings:
        return "nothing could be compared"
    parts = [f"{count} {outcome}" for outcome, count in pairing.counts.items() if count]
    return ", ".join(parts)


def sentence_of(finding: Finding) -> str:
    """Return a finding as one sentence."""
    return (
        f"{scenario_name(finding)}: {plain(finding.measure)} {finding.outcome}, "
        f"{shift_of(finding)} (95 %: {interval_of(finding)}); {finding.reason}"
    )


def error_rates_note(comparison: Comparison) -> str:
    """Return a sentence about the error rates of the outcomes."""
    often, once = ", however often one looks", ", for one look"
    if not comparison.sequential:
        often = once = ""
    return (
        f"If nothing differs, at most {100 * comparison.alpha:g} % of comparisons report a "
        f"change{often}. Intervals are {100 * comparison.level:g} % confidence intervals of "
        f"single measures{once}."
    )


def _signed(value: float, finding: Finding) -> str:
    text = _bare(abs(value), finding)
    if text == "0":
        return text
    return ("\N{MINUS SIGN}" if value < 0 else "+") + text


def _bare(value: float, finding: Finding) -> str:
    return number_text(round(100 * value, 4) if is_share(finding) else value)


def _shift_unit(finding: Finding) -> str:
    """Return the unit of a shift: percentage points for a share."""
    if is_share(finding):
        return " percentage points"
    return "" if finding.unit == "1" else f" {finding.unit}"
