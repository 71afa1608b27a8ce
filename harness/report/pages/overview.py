"""The index: what ran, how it came out, scenario by engine, and every trial in a list."""

from __future__ import annotations

from harness.report.overview import distinct, headline_of, matrix_of, outcome_of, title_of
from harness.report.pages.page_frame import PageFrame, render
from harness.report.site_model import Entry, SiteModel
from harness.results.versions import by_version


def overview_page(model: SiteModel, frame: PageFrame) -> str:
    """Return the page as text."""
    trials = model.trials
    inputs = [t.record.inputs for t in trials]
    engines = sorted({i.engine.version for i in inputs}, key=by_version)
    tones = [outcome_of(t).tone for t in trials]
    return render(
        "overview.html.j2",
        frame,
        model,
        {
            "headline": headline_of(trials, len(model.unreadable)),
            "tones": {tone: tones.count(tone) for tone in ("good", "bad", "unknown")},
            "facts": {
                "Engines": distinct(engines),
                "Lab": distinct(i.lab for i in inputs),
                "Clock": distinct(i.clock for i in inputs),
                "Topology": distinct(i.topology for i in inputs),
                "Kernel": distinct(i.kernel for i in inputs),
                "Seeds": distinct(map(str, sorted({i.seed for i in inputs}))),
            },
            "matrix": matrix_of(trials),
            "scenario_pages": {(s.scenario, s.control): s.page for s in model.scenarios},
            "rows": [_row(entry) for entry in model.entries],
        },
    )


def _row(entry: Entry) -> dict[str, object]:
    given = entry.trial.record.inputs
    return {
        "entry": entry,
        "outcome": outcome_of(entry.trial),
        "title": title_of(entry.trial),
        "inputs": given,
    }
