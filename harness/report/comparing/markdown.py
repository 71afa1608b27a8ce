"""A comparison as Markdown, for a job's summary or a pull request's comment."""

from __future__ import annotations

from harness.report.comparing.comparison_text import (
    MARKS,
    error_rates_note,
    headline_of,
    interval_of,
    p_text,
    scenario_name,
    shift_of,
    values_of,
)
from harness.report.comparing.conclusions import conclusions_of
from harness.report.comparing.table import UNCHANGED
from harness.report.sanitize import markdown_cell, one_line
from harness.results.comparison import Comparison, Finding, Pairing


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison, with what is the same or within noise folded away."""
    lines: list[str] = []
    for pairing in comparison.pairings:
        lines += [
            f"## {markdown_cell(pairing.candidate)} against {markdown_cell(comparison.baseline)}",
            "",
        ]
        lines += _conclusions(comparison, pairing)
        lines += [f"**{headline_of(pairing)}**", ""]
        changed = [f for f in pairing.findings if f.outcome not in UNCHANGED]
        unchanged = [f for f in pairing.findings if f.outcome in UNCHANGED]
        if changed:
            lines += [*_rows(changed), ""]
        if unchanged:
            lines += [
                "<details><summary>",
                f"{len(unchanged)} same or within noise",
                "</summary>",
                "",
            ]
            lines += [*_rows(unchanged), "", "</details>", ""]
        if pairing.left_out:
            lines += [
                "Not compared:",
                "",
                *(f"- {markdown_cell(one)}" for one in pairing.left_out),
                "",
            ]
    return "\n".join([*lines, error_rates_note(comparison), ""])


def _conclusions(comparison: Comparison, pairing: Pairing) -> list[str]:
    lines = []
    for conclusion in conclusions_of(comparison, pairing):
        lines += [markdown_cell(conclusion.head), ""]
        lines += [f"- {markdown_cell(finding)}" for finding in conclusion.findings]
        if conclusion.findings:
            lines.append("")
        if conclusion.command:
            lines += [f"    {one_line(conclusion.command)}", ""]
    return lines


def _rows(findings: list[Finding]) -> list[str]:
    head = ["| | scenario | measure | baseline | candidate | shift | 95 % | p |", "|" + "---|" * 8]
    return head + [
        f"| {MARKS[f.outcome]} {f.outcome} "
        f"| {markdown_cell(scenario_name(f))} | {markdown_cell(f.measure)} "
        f"| {markdown_cell(values_of(f.baseline, f))} | {markdown_cell(values_of(f.candidate, f))} "
        f"| {shift_of(f)} | {interval_of(f)} | {p_text(f.adjusted)} |"
        for f in findings
    ]
