"""The comparison page: runs, or the engines of a run, compared measure by measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.report.comparing.comparison_text import (
    MARKS,
    MEANINGS,
    TONES,
    amount,
    error_rates_note,
    headline_of,
    interval_of,
    scenario_name,
    shift_of,
    values_of,
)
from harness.report.comparing.conclusions import Conclusion, conclusions_of
from harness.report.figures import Figure, spread_figure
from harness.report.figures.spread import Point
from harness.report.pages.page_frame import PageFrame, render
from harness.report.site_model import SiteModel
from harness.results import Run
from harness.results.comparison import Comparison, Finding, Pairing, Values, compare
from harness.results.comparison_sides import sides_by_engine, sides_by_run

_MOST_SIDES = 6
_MOST_CHARTS = 24


@dataclass(frozen=True)
class Bar:
    """A shift with its interval on a scale of its own, in shares of the bar's length.

    ``floor`` is the noise floor. ``open``: one end is unbounded.
    """

    shift: float
    low: float
    high: float
    floor: tuple[float, float]
    open: bool


@dataclass(frozen=True)
class Row:
    """One finding, ready to be shown."""

    finding: Finding
    scenario: str
    tone: str
    mark: str
    baseline: str
    candidate: str
    shift: str
    interval: str
    bar: Bar
    figure: Figure | None


@dataclass(frozen=True)
class Section:
    """One side against the baseline."""

    pairing: Pairing
    headline: str
    conclusions: tuple[Conclusion, ...]
    rows: tuple[Row, ...]

    @property
    def scenarios(self) -> tuple[str, ...]:
        """To filter by."""
        return tuple(dict.fromkeys(r.scenario for r in self.rows))


def comparisons_of(runs: Sequence[Run]) -> list[Comparison]:
    """Compare ``runs`` with each other, and the engines within them, as far as there are several.

    Of many runs the first is compared with the last few.
    """
    made = []
    sides = sides_by_run(runs)
    if len(sides) > _MOST_SIDES:
        sides = [sides[0], *sides[1 - _MOST_SIDES :]]
    if len(sides) > 1:
        made.append(compare(sides, by="run"))
    try:
        made.append(compare(sides_by_engine(runs), by="engine"))
    except UsageError:
        return made  # one engine
    return made


def comparison_page(model: SiteModel, comparisons: Sequence[Comparison], frame: PageFrame) -> str:
    """Return the page as text."""
    return render(
        "comparison.html.j2",
        frame,
        model,
        {
            "parts": [(c, error_rates_note(c), _sections(c)) for c in comparisons],
            "meanings": MEANINGS,
            "marks": MARKS,
        },
    )


def _sections(comparison: Comparison) -> tuple[Section, ...]:
    left = _MOST_CHARTS
    sections = []
    for pairing in comparison.pairings:
        rows = []
        for finding in pairing.findings:
            drawn = left > 0 and finding.outcome in {"regressed", "improved", "different"}
            left -= drawn
            rows.append(_row(comparison, pairing, finding, drawn=drawn))
        sections.append(
            Section(pairing, headline_of(pairing), conclusions_of(comparison, pairing), tuple(rows))
        )
    return tuple(sections)


def _row(comparison: Comparison, pairing: Pairing, finding: Finding, *, drawn: bool) -> Row:
    figure = None
    if drawn:
        sides = (
            (comparison.baseline, finding.baseline), (pairing.candidate, finding.candidate)
        )  # fmt: skip
        figure = spread_figure(
            [(name, _points(name, values, finding)) for name, values in sides], unit=finding.unit
        )
    return Row(
        finding=finding,
        scenario=scenario_name(finding),
        tone=TONES[finding.outcome],
        mark=MARKS[finding.outcome],
        baseline=_side_text(finding.baseline, finding),
        candidate=_side_text(finding.candidate, finding),
        shift=shift_of(finding),
        interval=interval_of(finding),
        bar=_bar(finding),
        figure=figure,
    )


def _side_text(values: Values, finding: Finding) -> str:
    missing = f", {values.missing} without a value" if values.missing else ""
    count = "1 trial" if len(values.values) == 1 else f"{len(values.values)} trials"
    return f"{values_of(values, finding)}, {count}{missing}"


def _points(name: str, values: Values, finding: Finding) -> list[Point]:
    return [
        Point(value, "unknown", censored, f"{amount(value, finding)}, {name}", "")
        for value, censored in zip(values.values, values.censored, strict=True)
    ]


def _bar(finding: Finding) -> Bar:
    ends = [abs(end) for end in (finding.low, finding.high) if end is not None]
    reach = max([abs(finding.shift), finding.floor, *ends], default=0.0) * 1.15 or 1.0

    def position(value: float) -> float:
        return round(0.5 + value / reach / 2, 4)

    return Bar(
        shift=position(finding.shift),
        low=0.0 if finding.low is None else position(finding.low),
        high=1.0 if finding.high is None else position(finding.high),
        floor=(position(-finding.floor), position(finding.floor)),
        open=finding.low is None or finding.high is None,
    )
