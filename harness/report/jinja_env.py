"""The Jinja environment of the pages, with its filters."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from harness.report.figures import Figure
from harness.report.formatting import bound_of, duration, standing_of, value_of, wall_time
from harness.report.overview import outcome_of, parameters_of
from harness.report.sanitize import plain
from harness.trial import Measure

_GITHUB = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")


@cache
def jinja_env() -> jinja2.Environment:
    """Return Jinja with the report's filters and autoescaping."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Records are untrusted: no control characters get into the page.
    made.finalize = _finalize
    made.filters.update(
        wall_time=wall_time,
        value_of=value_of,
        bound_of=bound_of,
        standing_of=standing_of,
        duration=duration,
        gauge_of=gauge_of,
        upstream_url=upstream_url,
        parameters_of=parameters_of,
        outcome_of=outcome_of,
        as_data=as_data,
    )
    return made


def as_data(figure: Figure) -> Markup:
    """Return a figure for a ``<script type="application/json">``, which it cannot end."""
    text = msgspec.json.encode(figure.as_json()).decode()
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))


class Gauge(msgspec.Struct, frozen=True):
    """A measure against its bound, as shares of the gauge's length."""

    fill: float
    limit: float


def gauge_of(measure: Measure) -> Gauge | None:
    """Return a measure as a bar with a mark at its bound; None where a bar would say nothing."""
    if measure.value is None or measure.bound is None or measure.bound.op == "equals":
        return None
    value, limit = measure.value, measure.bound.limit
    if value < 0 or limit < 0:
        return None
    scale = max(limit / 0.7, value, 1e-12)
    return Gauge(value / scale, limit / scale)


def upstream_url(reference: str) -> str:
    """Return where an upstream reference such as ``moby/moby#32841`` can be read, "" if unknown."""
    match = _GITHUB.fullmatch(reference)
    return f"https://github.com/{match[1]}/issues/{match[2]}" if match else ""


def _finalize(value: Any) -> Any:
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
