"""A comparison in the terminal."""

from __future__ import annotations

from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report.comparing.comparison_text import (
    MARKS,
    TONES,
    error_rates_note,
    headline_of,
    interval_of,
    shift_of,
    values_of,
)
from harness.report.comparing.conclusions import conclusions_of
from harness.report.sanitize import plain
from harness.results.comparison import Comparison, Finding, Pairing

_STYLES = {"good": "cyan", "bad": "bold red", "unknown": "yellow", "plain": "dim"}
UNCHANGED = frozenset({"same", "within noise"})
"""Outcomes that say that nothing changed."""

_COUNTED = UNCHANGED | {"inconclusive"}
"""Outcomes that are counted, and listed only on request."""


def comparison_table(comparison: Comparison, *, show_all: bool = False) -> RenderableType:
    """Return the comparison for rich; with ``show_all`` what did not change is listed too."""
    parts: list[RenderableType] = []
    for pairing in comparison.pairings:
        title = f"{plain(pairing.candidate)} against {plain(comparison.baseline)}"
        parts.append(Text(title, style="bold"))
        parts += _conclusions(comparison, pairing)
        shown = [f for f in pairing.findings if show_all or f.outcome not in _COUNTED]
        for scenario, group in groupby(sorted(shown, key=_scenario_id), key=_scenario_id):
            parts += _scenario(scenario, list(group))
        parts += [Text(f"! {plain(sentence)}", style="yellow") for sentence in pairing.left_out]
        parts.append(Text(headline_of(pairing), style="bold"))
        hidden = len(pairing.findings) - len(shown)
        if hidden:
            parts.append(Text(f"({hidden} without a change; list them with --all)"))
        parts.append(Text(""))
    parts.append(Text(error_rates_note(comparison), style="dim"))
    return Group(*parts)


def _conclusions(comparison: Comparison, pairing: Pairing) -> list[Text]:
    lines = []
    for conclusion in conclusions_of(comparison, pairing):
        lines.append(Text(conclusion.head))
        lines += [Text(f"  {line}") for line in conclusion.findings]
        if conclusion.command:
            lines.append(Text(f"  -> {conclusion.command}"))
    return [*lines, Text("")]


def _scenario_id(finding: Finding) -> str:
    """Return the scenario with its file, as two files may have a test of the same name."""
    name = plain(finding.scenario).rpartition("/")[2]
    return f"{name}, {plain(finding.engine)}" if finding.engine else name


def _scenario(name: str, findings: list[Finding]) -> list[RenderableType]:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, ratio in (("measure", 4), ("baseline", 4), ("candidate", 4), ("shift, 95 %", 4)):
        shown.add_column(title, overflow="fold", ratio=ratio)
    for finding in findings:
        style = _STYLES[TONES[finding.outcome]]
        shown.add_row(
            Text(
                f"{MARKS[finding.outcome]} {finding.outcome}\n{plain(finding.measure)}", style=style
            ),
            values_of(finding.baseline, finding),
            values_of(finding.candidate, finding),
            Text(f"{shift_of(finding)}\n{interval_of(finding)}", style=style),
        )
    doubtful = [f for f in findings if f.outcome == "inconclusive"]
    return [
        Text(name, style="bold"),
        shown,
        *(Text(f"? {plain(f.measure)}: {f.reason}", style="yellow") for f in doubtful),
        Text(""),
    ]
