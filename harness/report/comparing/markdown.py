"""A comparison as Markdown: for a job's summary or a pull request's comment."""

from __future__ import annotations

from harness.report.comparing.comparison_text import (
    MARKS,
    chance,
    headline_of,
    interval_of,
    promise_of,
    scenario_name,
    shift_of,
    values_of,
)
from harness.report.comparing.table import QUIET
from harness.report.markup import cell
from harness.results.comparison import Comparison, Finding


def markdown(comparison: Comparison) -> str:
    """The comparison; what is the same or within noise is folded away."""
    lines: list[str] = []
    for pairing in comparison.pairings:
        lines += [f"## {cell(pairing.candidate)} against {cell(comparison.baseline)}", ""]
        lines += [f"**{headline_of(pairing)}**", ""]
        loud = [f for f in pairing.findings if f.word not in QUIET]
        quiet = [f for f in pairing.findings if f.word in QUIET]
        if loud:
            lines += [*_rows(loud), ""]
        if quiet:
            lines += ["<details><summary>", f"{len(quiet)} same or within noise", "</summary>", ""]
            lines += [*_rows(quiet), "", "</details>", ""]
        if pairing.left_out:
            lines += ["Left out:", "", *(f"- {cell(one)}" for one in pairing.left_out), ""]
    return "\n".join([*lines, promise_of(comparison), ""])


def _rows(findings: list[Finding]) -> list[str]:
    head = ["| | scenario | measure | baseline | now | shift | 95 % | p |", "|" + "---|" * 8]
    return head + [
        f"| {MARKS[f.word]} {f.word} | {cell(scenario_name(f))} | {cell(f.measure)} "
        f"| {cell(values_of(f.baseline, f))} | {cell(values_of(f.candidate, f))} "
        f"| {shift_of(f)} | {interval_of(f)} | {chance(f.adjusted)} |"
        for f in findings
    ]
