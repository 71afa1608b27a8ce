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
    headline_of,
    interval_of,
    promise_of,
    shift_of,
    values_of,
)
from harness.report.sanitize import plain
from harness.results.comparison import Comparison, Finding

_STYLES = {"good": "cyan", "bad": "bold red", "unknown": "yellow", "plain": "dim"}
QUIET = frozenset({"same", "within noise"})
"""Words that are counted, and shown only when asked for."""


def table(comparison: Comparison, *, whole: bool = False) -> RenderableType:
    """The comparison as something that rich prints; findings that say nothing new if ``whole``."""
    parts: list[RenderableType] = []
    for pairing in comparison.pairings:
        title = f"{plain(pairing.candidate)} against {plain(comparison.baseline)}"
        parts.append(Text(title, style="bold"))
        shown = [f for f in pairing.findings if whole or f.word not in QUIET]
        for scenario, group in groupby(sorted(shown, key=_place), key=_place):
            parts += _scenario(scenario, list(group))
        parts += [Text(f"! {plain(sentence)}", style="yellow") for sentence in pairing.left_out]
        parts.append(Text(headline_of(pairing), style="bold"))
        hidden = len(pairing.findings) - len(shown)
        if hidden:
            parts.append(Text(f"({hidden} same or within noise not shown; --all shows them)"))
        parts.append(Text(""))
    parts.append(Text(promise_of(comparison), style="dim"))
    return Group(*parts)


def _place(finding: Finding) -> str:
    """Which scenario, with its file: two of one name are two."""
    name = plain(finding.scenario).rpartition("/")[2]
    return f"{name}, {plain(finding.engine)}" if finding.engine else name


def _scenario(name: str, findings: list[Finding]) -> list[RenderableType]:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, ratio in (("measure", 4), ("baseline", 4), ("now", 4), ("shift, 95 %", 4)):
        shown.add_column(title, overflow="fold", ratio=ratio)
    for finding in findings:
        style = _STYLES[TONES[finding.word]]
        shown.add_row(
            Text(f"{MARKS[finding.word]} {finding.word}\n{plain(finding.measure)}", style=style),
            values_of(finding.baseline, finding),
            values_of(finding.candidate, finding),
            Text(f"{shift_of(finding)}\n{interval_of(finding)}", style=style),
        )
    doubtful = [f for f in findings if f.word == "inconclusive"]
    return [
        Text(name, style="bold"),
        shown,
        *(Text(f"? {plain(f.measure)}: {f.because}", style="yellow") for f in doubtful),
        Text(""),
    ]
