"""A strip plot: the trials of two sides as dots over one axis, next to a finding."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from harness.report.comparing.comparison_text import amount, centre_of
from harness.results.comparison import Finding, Values

_WIDTH, _HEIGHT, _MARGIN = 200, 46, 8


def strip_plot(finding: Finding, names: tuple[str, str]) -> Markup:
    """Return an SVG of all trials: the baseline's above, the other's below, bars at the centres."""
    both = (finding.baseline, finding.candidate)
    low = min(values.min for values in both)
    high = max(values.max for values in both)
    extent = (high - low) or 1.0

    def x(value: float) -> str:
        return f"{_MARGIN + (value - low) / extent * (_WIDTH - 2 * _MARGIN):.1f}"

    label = "; ".join(
        f"{name}: {', '.join(_value(v, c, finding) for v, c in _pairs(values))}"
        for name, values in zip(names, both, strict=True)
    )
    rows = []
    for row, values in enumerate(both):
        y = 13 + 20 * row
        dots = "".join(
            f'<path d="M{x(v)} {y - 4}l7 4-7 4z"/>'
            if c
            else f'<circle cx="{x(v)}" cy="{y}" r="4"/>'
            for v, c in _pairs(values)
        )
        middle = x(centre_of(values, finding))
        rows.append(
            f'<g class="side{row}">{dots}<path class="middle" d="M{middle} {y - 8}v16"/></g>'
        )
    return Markup(
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'role="img" aria-label="{escape(label)}">{"".join(rows)}</svg>'
    )


def _pairs(values: Values) -> list[tuple[float, bool]]:
    return sorted(zip(values.values, values.censored, strict=True))


def _value(value: float, censored: bool, finding: Finding) -> str:
    return ("more than " if censored else "") + amount(value, finding)
