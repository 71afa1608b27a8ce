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
from harness.report.sanitize import plain
from harness.results.comparison import Comparison, Finding

_STYLES = {"good": "cyan", "bad": "bold red", "unknown": "yellow", "plain": "dim"}
UNCHANGED = frozenset({"same", "within noise"})
"""Outcomes that are counted, and listed only on request."""


def comparison_table(comparison: Comparison, *, show_all: bool = False) -> RenderableType:
    """Return the comparison for rich; with ``show_all`` unchanged measures are listed too."""
    parts: list[RenderableType] = []
    for pairing in comparison.pairings:
        title = f"{plain(pairing.candidate)} against {plain(comparison.baseline)}"
        parts.append(Text(title, style="bold"))
        shown = [f for f in pairing.findings if show_all or f.outcome not in UNCHANGED]
        for scenario, group in groupby(sorted(shown, key=_scenario_id), key=_scenario_id):
            parts += _scenario(scenario, list(group))
        parts += [Text(f"! {plain(sentence)}", style="yellow") for sentence in pairing.left_out]
        parts.append(Text(headline_of(pairing), style="bold"))
        hidden = len(pairing.findings) - len(shown)
        if hidden:
            parts.append(Text(f"({hidden} same or within noise; list them with --all)"))
        parts.append(Text(""))
    parts.append(Text(error_rates_note(comparison), style="dim"))
    return Group(*parts)


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
