"""A comparison as one self-contained HTML file: no network, no script."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from harness.report.comparing.comparison_text import (
    MARKS,
    MEANINGS,
    TONES,
    error_rates_note,
    headline_of,
    interval_of,
    p_text,
    scenario_name,
    shift_of,
    values_of,
)
from harness.report.comparing.conclusions import conclusions_of
from harness.report.comparing.strip_plot import strip_plot
from harness.report.sanitize import plain
from harness.results.comparison import Comparison, Values

_TEMPLATES = Path(__file__).with_name("templates")


def render_comparison(comparison: Comparison) -> str:
    """Return the page as text; the same comparison gives byte-identical text."""
    others = ", ".join(pairing.candidate for pairing in comparison.pairings)
    return (
        _environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            title=plain(f"{others} against {comparison.baseline}"),
            note=error_rates_note(comparison),
            style=Markup((_TEMPLATES / "comparison.css").read_text(encoding="utf-8")),
            marks=MARKS,
            tones=TONES,
            meanings=MEANINGS,
            headline=headline_of,
            conclusions=conclusions_of,
            scenario=scenario_name,
            values=values_of,
            missing=_missing,
            shift=shift_of,
            interval=interval_of,
            p_text=p_text,
            strip_plot=strip_plot,
        )
    )


def _missing(values: Values) -> str:
    return f", {values.missing} without a value" if values.missing else ""


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )


def _finalize(value: object) -> object:
    # Records are untrusted: no control characters get into the page.
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
