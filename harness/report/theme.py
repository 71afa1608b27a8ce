"""The colours of the pictures, by name, and how they get from matplotlib into a page.

A picture is drawn once and shown on light and dark paper alike: matplotlib is given stand-in
colours, which :mod:`harness.report.svg` turns into CSS variables that the style sheet sets.
Hues follow Okabe and Ito's palette for colour-blind readers (https://jfly.uni-koeln.de/color/);
every outcome but ok has a hatch of its own too, so nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_NAMES = (
    "ink", "muted", "grid", "paper", "fault", "fault-ink", "leader", "leader-ink", "ready",
    "down", "no-leader", "p50", "p99", "ok-dot",
    "ok", "4xx", "5xx", "refused", "reset", "timeout", "unreachable", "client",
)  # fmt: skip

STAND_INS: Mapping[str, str] = MappingProxyType(
    {name: f"#fe00{number:02x}" for number, name in enumerate(_NAMES, start=1)}
)
"""Colour name to the stand-in given to matplotlib."""

VARIABLES: Mapping[str, str] = MappingProxyType(
    {stand_in: f"var(--c-{name})" for name, stand_in in STAND_INS.items()}
)
"""Stand-in to the CSS variable that takes its place."""

HATCHES: Mapping[str, str] = MappingProxyType(
    {
        "ok": "",
        "4xx": "....",
        "5xx": "/////",
        "refused": "\\\\\\\\\\",
        "reset": "xxxx",
        "timeout": "-----",
        "unreachable": "|||||",
        "client": "++++",
    }
)
"""Outcome to matplotlib hatch."""


def colour(name: str) -> str:
    """The stand-in for a colour, to be given to matplotlib."""
    return STAND_INS[name]
