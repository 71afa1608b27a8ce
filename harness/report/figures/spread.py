"""One measure by engine: a point for every trial, and a box where there are enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.figures.chart_style import SMALL, Figure, Json, axis, fit, frame, text_at

_ROW = 34
_MARGINS = (14, 40)
ENOUGH_FOR_A_BOX = 5
_LOG_BEYOND = 200.0


@dataclass(frozen=True)
class Point:
    """One trial's value: ``kind`` good, bad or unknown; ``text`` say which; ``href`` its page."""

    value: float
    kind: str
    censored: bool
    text: str
    href: str


_MARKS = {"good": ("circle", "$good"), "bad": ("x", "$bad"), "unknown": ("diamond", "$unknown")}
_NAMES = {"good": "bound held", "bad": "bound broken", "unknown": "no bound, or undecided"}


def spread_figure(
    groups: Sequence[tuple[str, Sequence[Point]]],
    *,
    unit: str,
    limits: Sequence[tuple[float, str]] = (),
) -> Figure:
    """Return the chart of ``groups`` by name, top down; ``limits`` are bounds with their sign."""
    values = [p.value for _, points in groups for p in points]
    top, bottom = _MARGINS
    inner = _ROW * len(groups) + 8
    data: list[Json] = []
    for row, (name, points) in enumerate(groups):
        if len(points) >= ENOUGH_FOR_A_BOX:
            data.append(
                {
                    "type": "box", "orientation": "h", "x": [p.value for p in points],
                    "y": [row + 0.5] * len(points), "name": fit(name), "width": 0.5,
                    "boxpoints": False, "hoverinfo": "skip", "showlegend": False,
                    "line": {"color": "$muted", "width": 1}, "fillcolor": "$soft",
                }
            )  # fmt: skip
    for kind, (symbol, colour) in _MARKS.items():
        chosen = [
            (row, place, len(points), p)
            for row, (_, points) in enumerate(groups)
            for place, p in enumerate(points)
            if p.kind == kind
        ]
        if not chosen:
            continue
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": _NAMES[kind],
                "x": [p.value for *_, p in chosen],
                "y": [_beside(row, place, count) for row, place, count, _ in chosen],
                "marker": {
                    "symbol": ["triangle-right" if p.censored else symbol for *_, p in chosen],
                    "color": colour, "size": 8, "opacity": 0.85,
                    "line": {"width": 0.7, "color": "$paper"},
                },
                "customdata": [[fit(p.text), p.href] for *_, p in chosen],
                "hovertemplate": "%{customdata[0]}<extra></extra>",
            }
        )  # fmt: skip
    shown = [*values, *(limit for limit, _ in limits)]
    positive = min(shown, default=0) > 0
    wide = positive and max(shown) / min(shown) > _LOG_BEYOND
    layout = frame(inner + top + bottom)
    layout["margin"] |= {"t": top, "b": bottom, "l": 110}
    layout["xaxis"] = axis(
        type="log" if wide else "linear",
        title={"text": "" if unit == "1" else fit(unit), "font": {"size": SMALL}},
        nticks=8,
        range=_range(shown, log=wide),
    )
    layout["yaxis"] = axis(
        range=[len(groups), 0], showgrid=False,
        tickvals=[n + 0.5 for n in range(len(groups))],
        ticktext=[fit(name, 14) for name, _ in groups],
        tickfont={"size": SMALL, "color": "$ink"},
    )  # fmt: skip
    layout["shapes"] = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": limit, "x1": limit, "y0": 0, "y1": 1,
         "line": {"color": "$no-leader", "width": 1.5, "dash": "dash"}}
        for limit, _ in limits
    ]  # fmt: skip
    layout["annotations"] = [
        text_at(
            math.log10(limit) if wide else limit, 1, fit(f"{sign} {limit:g}"), xref="x",
            xanchor="center", font={"size": SMALL, "color": "$no-leader"}, yshift=-2,
        )
        for limit, sign in limits
    ]  # fmt: skip
    return Figure(data, layout, inner + top + bottom)


def _range(shown: Sequence[float], *, log: bool) -> list[float]:
    if not shown:
        return [0.0, 1.0]
    low, high = min(shown), max(shown)
    if log:
        return [round(math.log10(low) - 0.1, 4), round(math.log10(high) + 0.1, 4)]
    low = min(low, 0.0)
    room = (high - low) * 0.04 or 0.5
    return [low - room, high + room]


def _beside(row: int, place: int, count: int) -> float:
    """Spread the points of a row over half its height, in their order and not at random."""
    return round(row + 0.5 + (0.0 if count < 2 else (place % 5 - 2) * 0.09), 3)
