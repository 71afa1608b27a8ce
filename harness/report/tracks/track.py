"""A track: one panel of the timeline below the load, from a probe's samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.report.timeline_data import Span

MOST_SERIES = 12
MOST_POINTS = 600
MOST_BANDS = 24
MOST_SPANS = 400

Row = Mapping[str, Any]
Points = Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Line:
    """One line of a track; a value None is a gap. ``steps``: it holds until the next value."""

    label: str
    times: tuple[float, ...]
    values: tuple[float | None, ...]
    steps: bool = False

    @property
    def known(self) -> tuple[float, ...]:
        """The values without the gaps."""
        return tuple(v for v in self.values if v is not None)


@dataclass(frozen=True)
class TimelineTrack:
    """One panel: ``lines``, or ``bands`` (label to states), or ``dots`` (label to times).

    ``note`` explains the numbers; ``left_out`` is the number of lines or bands that are not drawn.
    ``from_zero``: the axis of numbers begins at 0.
    """

    source: str
    title: str
    unit: str = ""
    lines: tuple[Line, ...] = ()
    bands: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    dots: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    note: str = ""
    left_out: int = 0
    from_zero: bool = True

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.lines or self.bands or self.dots)


def lines_of(points: Mapping[str, Points], *, steps: bool = False) -> tuple[tuple[Line, ...], int]:
    """Return lines from points by label, and the number left out."""
    drawn = [
        Line(name, tuple(p[0] for p in few), tuple(p[1] for p in few), steps)
        for name in list(points)[:MOST_SERIES]
        if (few := thinned(points[name]))
    ]
    return tuple(drawn), max(0, len(points) - MOST_SERIES)


def bands_of(
    changes: Mapping[str, Sequence[tuple[float, str]]], *, end: float
) -> tuple[dict[str, tuple[Span, ...]], int]:
    """Return bands from (time, state) pairs in order of time, each until the next or ``end``."""
    bands = {}
    for name in sorted(changes)[:MOST_BANDS]:
        kept: list[tuple[float, str]] = []
        for at, state in changes[name]:
            if (not kept or kept[-1][1] != state) and len(kept) < MOST_SPANS:
                kept.append((at, state))
        ends = [*(at for at, _ in kept[1:]), max(end, kept[-1][0])]
        bands[name] = tuple(Span(at, to, state) for (at, state), to in zip(kept, ends, strict=True))
    return bands, max(0, len(changes) - MOST_BANDS)


def thinned(points: Points, most: int = MOST_POINTS) -> list[tuple[float, float | None]]:
    """Return about ``most`` points, keeping the minimum and maximum of each stretch."""
    if len(points) <= most:
        return list(points)
    width = math.ceil(2 * len(points) / most)
    kept: list[tuple[float, float | None]] = []
    for first in range(0, len(points), width):
        stretch = points[first : first + width]
        valued = [p for p in stretch if p[1] is not None]
        if not valued:
            kept.append(stretch[0])
            continue
        low = min(valued, key=lambda p: p[1] or 0.0)
        high = max(valued, key=lambda p: p[1] or 0.0)
        kept += sorted({low, high}, key=lambda p: p[0])
    return kept


def number_in(value: Any) -> float | None:
    """Return a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def timed(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have a time, in its order."""
    return sorted(
        (row for row in rows if number_in(row.get("t")) is not None), key=lambda r: float(r["t"])
    )
