"""Failures over nights as text and as Markdown: what changed since the last night comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from harness.report.sanitize import markdown_cell, one_line
from harness.results.failure_history import Night, Standing, State

_WORDS: Mapping[State, tuple[str, str]] = {
    "new": ("✗", "new"),
    "known": ("≈", "known"),
    "acknowledged": ("✓", "acknowledged"),
    "gone": ("✓", "gone since the night before"),
}


def headline_of(nights: Sequence[Night], found: Sequence[Standing]) -> str:
    """Return what changed since the night before, in a sentence."""
    tonight, counts = nights[-1], Counter(one.state for one in found)
    parts = [f"{counts[state]} {word}" for state, (_, word) in _WORDS.items() if counts[state]]
    trials = f"{tonight.trials:,} trial{'' if tonight.trials == 1 else 's'}"
    return f"{tonight.label}, {trials}: {'kinds of failure: ' if parts else ''}" + (
        ", ".join(parts) or "no failure"
    )


def lines_of(nights: Sequence[Night], found: Sequence[Standing]) -> Iterator[str]:
    """Yield the lines for a terminal."""
    yield headline_of(nights, found)
    for one in found:
        mark, word = _WORDS[one.state]
        yield f"{mark} {word}: {one.kind.name}{_on(one)}"
        yield f"    {one_line(one.kind.reason)}"
        yield f"    {history_of(one)}; {', '.join(one.kind.trials)}"
        if one.note:
            yield f"    note: {one_line(one.note)}"


def failures_markdown(nights: Sequence[Night], found: Sequence[Standing]) -> str:
    """Return a job's summary: the headline, and a table with a row for each kind."""
    lines = [f"## failures by kind: {markdown_cell(headline_of(nights, found))}", ""]
    if found:
        lines += ["| state | failure | seen | reason |", "|---|---|---|---|"]
    for one in found:
        mark, word = _WORDS[one.state]
        cells = (
            f"{word}{_on(one)}{f': {one.note}' if one.note else ''}",
            one.kind.name,
            history_of(one),
            one.kind.reason,
        )
        lines.append(f"| {mark} {' | '.join(map(markdown_cell, cells))} |")
    return "\n".join([*lines, ""])


def history_of(one: Standing) -> str:
    """Return since when and how often a kind was seen."""
    nights = f"in {one.nights} of {one.of} night{'' if one.of == 1 else 's'}"
    if one.first_seen == one.last_seen:
        return f"seen {nights}, {one.first_seen}"
    return f"seen {nights}, {one.first_seen} to {one.last_seen}"


def _on(one: Standing) -> str:
    """Return the engines that a kind was seen on, the new ones of a kind that others had before."""
    engines = one.new_on if one.state == "new" else tuple(one.kind.engines)
    return f" on {', '.join(engines)}" if engines else ""
