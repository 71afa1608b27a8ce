"""Numbers as people read them, with their units; the same in a verdict and on every page."""

from __future__ import annotations

from harness.trial.bound import Bound

_LIMITS = {"below": "at most", "above": "at least", "equals": "exactly"}


def number_text(value: float) -> str:
    """Return a number with four significant digits, in plain notation if readable."""
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def quantity_text(value: float, unit: str, bound: Bound | None) -> str:
    """Return a value with its unit; unit 1 with a bound within (0, 1) is a share, in percent."""
    if unit != "1":
        return f"{number_text(value)} {unit}"
    if bound is not None and 0 < bound.limit < 1:
        return f"{number_text(round(100 * value, 6))} %"
    return number_text(value)


def limit_text(bound: Bound, unit: str) -> str:
    """Return a bound with its unit: "at most 45 s"."""
    return f"{_LIMITS[bound.op]} {quantity_text(bound.limit, unit, bound)}"
