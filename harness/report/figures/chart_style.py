"""The style of all charts: colours by name, safe text, and the layout around the panels."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from harness.report.sanitize import plain

Json = dict[str, Any]

HATCHES: Mapping[str, str] = MappingProxyType(
    {
        "ok": "", "4xx": ".", "5xx": "/", "refused": "\\", "reset": "x", "timeout": "-",
        "unreachable": "|", "client": "+",
    }
)  # fmt: skip
"""Outcome to pattern: every outcome but ok has one, so that nothing is shown by colour alone."""

SERIES = tuple(f"$series-{n}" for n in range(1, 9))
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")

LEFT, RIGHT, TOP, BOTTOM = 124, 14, 6, 44  # pixels around the panels
SMALL = 12


@dataclass
class Figure:
    """A chart: Plotly's ``data`` and ``layout``, and the height it needs in pixels."""

    data: list[Json] = field(default_factory=list)
    layout: Json = field(default_factory=dict)
    height: int = 0

    def as_json(self) -> Json:
        """Return what goes into the page."""
        return {"data": self.data, "layout": self.layout}


def fit(text: str, most: int | None = None) -> str:
    """Return untrusted text for Plotly, which interprets tags."""
    return html.escape(plain(text, most), quote=False)


def axis(**more: Any) -> Json:
    """Return an axis in the common style."""
    return {
        "showline": False, "zeroline": False, "gridcolor": "$grid", "gridwidth": 1,
        "tickfont": {"size": SMALL, "color": "$muted"}, "fixedrange": True, "automargin": False,
        **more,
    }  # fmt: skip


def frame(height: int, **more: Any) -> Json:
    """Return a layout without axes."""
    return {
        "height": height, "margin": {"l": LEFT, "r": RIGHT, "t": TOP, "b": BOTTOM, "pad": 4},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": SMALL, "color": "$ink", "family": "$font"},
        "hoverlabel": {"bgcolor": "$paper", "bordercolor": "$muted",
                       "font": {"color": "$ink", "size": SMALL}, "align": "left"},
        "hovermode": "closest", "showlegend": False, **more,
    }  # fmt: skip


def text_at(x: float, y: float, text: str, **more: Any) -> Json:
    """Text on the paper, ``x`` and ``y`` in shares of the panels' area."""
    return {
        "x": x, "y": y, "xref": "paper", "yref": "paper", "text": text, "showarrow": False,
        "xanchor": "left", "yanchor": "bottom", "font": {"size": SMALL + 1, "color": "$ink"},
        **more,
    }  # fmt: skip
