"""One measure from run to run: a line for each engine, and where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.figures.chart_style import (
    DASHES,
    SERIES,
    SMALL,
    SYMBOLS,
    Figure,
    Json,
    axis,
    fit,
    frame,
    text_at,
)

_HEIGHT = 230


@dataclass(frozen=True)
class Step:
    """One run's trials of a measure on an engine: their median, least and greatest value.

    ``version``: which it was, if the engine was requested by another name.
    """

    run: str
    when: str
    middle: float
    low: float
    high: float
    trials: int
    version: str = ""


def trend_figure(
    lines: Sequence[tuple[str, Sequence[Step]]],
    *,
    unit: str,
    limits: Sequence[tuple[float, str]] = (),
    changes: Sequence[tuple[str, str]] = (),
) -> Figure:
    """Return the chart of ``lines`` by engine over runs; ``changes`` are runs with labels."""
    runs = sorted({(s.when, s.run) for _, steps in lines for s in steps})
    place = {run: n for n, (_, run) in enumerate(runs)}
    data: list[Json] = []
    for number, (name, steps) in enumerate(lines):
        colour = SERIES[number % len(SERIES)]
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": fit(name),
                "x": [place[s.run] for s in steps], "y": [s.middle for s in steps],
                "error_y": {
                    "type": "data", "symmetric": False, "thickness": 1, "width": 3,
                    "color": colour,
                    "array": [s.high - s.middle for s in steps],
                    "arrayminus": [s.middle - s.low for s in steps],
                },
                "line": {"color": colour, "width": 1.5, "dash": DASHES[number % len(DASHES)]},
                "marker": {"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 7, "color": colour},
                "customdata": [
                    fit(
                        f"{name}{s.version}, run {s.run}: {s.middle:.4g} "
                        f"{'' if unit == '1' else unit} "
                        f"({s.trials} trial{'s' * (s.trials > 1)}, {s.low:.4g} to {s.high:.4g})"
                    )
                    for s in steps
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )  # fmt: skip
    layout = frame(_HEIGHT, showlegend=len(lines) > 1)
    layout["margin"] |= {"t": 30, "b": 62, "l": 70}
    every = max(1, -(-len(runs) // 12))
    layout["xaxis"] = axis(
        range=[-0.5, len(runs) - 0.5],
        tickvals=list(range(0, len(runs), every)),
        ticktext=[fit(_short(when, run)) for when, run in runs[::every]],
        tickangle=-30 if len(runs) > 5 else 0,
    )
    layout["yaxis"] = axis(
        rangemode="tozero", nticks=6,
        title={"text": "" if unit == "1" else fit(unit), "font": {"size": SMALL}},
    )  # fmt: skip
    layout["legend"] = {
        "orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom",
        "font": {"size": SMALL, "color": "$ink"}, "itemclick": False, "itemdoubleclick": False,
    }  # fmt: skip
    layout["shapes"] = [
        {"type": "line", "xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": limit, "y1": limit,
         "line": {"color": "$no-leader", "width": 1.2, "dash": "dash"}}
        for limit, _ in limits
    ] + [
        {"type": "line", "xref": "x", "yref": "paper", "x0": place[run] - 0.5,
         "x1": place[run] - 0.5, "y0": 0, "y1": 1, "line": {"color": "$bad", "width": 1.5}}
        for run, _ in changes
        if run in place
    ]  # fmt: skip
    layout["annotations"] = [
        text_at(place[run] - 0.5, 1, fit(label), xref="x", yanchor="top", xshift=3,
                 font={"size": SMALL, "color": "$bad"})
        for run, label in changes
        if run in place
    ]  # fmt: skip
    return Figure(data, layout, _HEIGHT)


def _short(when: str, run: str) -> str:
    return when[5:16].replace("T", " ") if len(when) >= 16 and when[4:5] == "-" else run
