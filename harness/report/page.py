"""``index.html`` of a run: one file that needs nothing else, neither network nor folder."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from harness.errors import TrialError
from harness.report import words
from harness.report.events import MOST_EVENTS, Event, events_of
from harness.report.logs import MOST_COMPLAINTS, Complaint, complaints
from harness.report.overview import (
    Outcome,
    distinct,
    headline_of,
    matrix_of,
    outcome_of,
    parameters_of,
    rerun_command,
    title_of,
)
from harness.report.plain import plain
from harness.report.series import Timeline, read_requests, timeline_of
from harness.results import Run, StoredTrial, journal, read_run, samples
from harness.trial import Measure

REPORT_FILE = "index.html"
_GITHUB = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")
_MOST_TABLE_ROWS = 150


@dataclass(frozen=True)
class Gauge:
    """A measure against its bound, as shares of the gauge's length."""

    fill: float
    limit: float


@dataclass(frozen=True)
class TrialView:
    """All that the page says about one trial."""

    anchor: str
    trial: StoredTrial
    outcome: Outcome
    title: str
    command: str
    timeline: Timeline
    picture: Markup
    captions: tuple[str, ...]
    events: tuple[Event, ...]
    events_left: int
    groups: tuple[str, ...]
    complaints: tuple[Complaint, ...]
    complaints_left: int
    damage: tuple[str, ...]


def write_report(run_folder: Path) -> Path:
    """Write ``index.html`` into a run's folder and return its path.

    The same folder gives the same bytes. Raises :class:`~harness.errors.UsageError` for a folder
    that is no run, :class:`~harness.errors.TrialError` if the file cannot be written.
    """
    html = render_page(read_run(run_folder))
    target = run_folder / REPORT_FILE
    half = run_folder / f".{REPORT_FILE}.part"
    try:
        half.write_text(html, encoding="utf-8")
        half.replace(target)
    except OSError as error:
        raise TrialError(f"cannot write {target}: {error.strerror}") from error
    return target


def render_page(run: Run) -> str:
    """The page as text."""
    environment = _environment()
    script = _text("filter.js")
    anchors = _anchors(run.trials)
    views = [_view(trial, anchors[trial.id]) for trial in run.trials]
    inputs = [t.record.inputs for t in run.trials]
    return environment.get_template("run.html.j2").render(
        run=run,
        headline=headline_of(run),
        tones=[v.outcome.tone for v in views],
        facts={
            "Engines": distinct(f"{i.engine.version}" for i in inputs),
            "Lab": distinct(i.lab for i in inputs),
            "Clock": distinct(i.clock for i in inputs),
            "Topology": distinct(i.topology for i in inputs),
            "Kernel": distinct(i.kernel for i in inputs),
            "Seeds": distinct(str(i.seed) for i in inputs),
        },
        matrix=matrix_of(run),
        views=views,
        anchors=anchors,
        style=Markup(_text("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _view(trial: StoredTrial, anchor: str) -> TrialView:
    # Drawing is loaded on use: matplotlib takes longer to import than a summary to print.
    from harness.report.timeline import timeline_svg

    entries = journal(trial.folder)
    rows = samples(trial.folder, "requests")
    requests, strange = read_requests(rows.rows)
    timeline = timeline_of(entries.rows, requests, seconds=trial.record.seconds)
    damage = [d for d in (entries.damage, rows.damage) if d]
    if strange:
        damage.append(f"requests.jsonl: {strange:,} rows are no requests and are left out")
    title = plain(title_of(trial))
    picture = ""
    if timeline.requests or timeline.faults or timeline.members or timeline.leaders:
        picture = timeline_svg(
            timeline,
            name=anchor,
            label=f"Timeline: {title}, engine {trial.record.inputs.engine.version}",
            described_by=f"{anchor}-words",
        )
    events = events_of(entries.rows)
    found = complaints(trial.folder)
    return TrialView(
        anchor=anchor,
        trial=trial,
        outcome=outcome_of(trial),
        title=title,
        command=rerun_command(trial.record.inputs),
        timeline=timeline,
        picture=Markup(picture),
        captions=tuple(words.describe(timeline)),
        events=events,
        events_left=max(0, len(entries.rows) - MOST_EVENTS),
        groups=tuple(sorted({e.group for e in events})),
        complaints=found[:MOST_COMPLAINTS],
        complaints_left=max(0, len(found) - MOST_COMPLAINTS),
        damage=tuple(damage),
    )


def gauge_of(measure: Measure) -> Gauge | None:
    """A measure as a bar with a mark at its bound; None where a bar would say nothing."""
    if measure.value is None or measure.bound is None or measure.bound.op == "equals":
        return None
    value, limit = measure.value, measure.bound.limit
    if value < 0 or limit < 0:
        return None
    scale = max(limit / 0.7, value, 1e-12)
    return Gauge(value / scale, limit / scale)


def upstream_url(reference: str) -> str:
    """Where an upstream reference such as ``moby/moby#32841`` can be read, "" if unknown."""
    match = _GITHUB.fullmatch(reference)
    return f"https://github.com/{match[1]}/issues/{match[2]}" if match else ""


def _anchors(trials: Sequence[StoredTrial]) -> dict[str, str]:
    anchors: dict[str, str] = {}
    for trial in trials:
        base = "trial-" + re.sub(r"[^A-Za-z0-9_-]+", "-", trial.id)
        anchor, number = base, 1
        while anchor in anchors.values():
            number += 1
            anchor = f"{base}--{number}"
        anchors[trial.id] = anchor
    return anchors


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # What records hold was said by others: no control characters get into the page.
    environment.finalize = _finalize
    environment.filters.update(
        wall_time=words.wall_time,
        value_of=words.value_of,
        bound_of=words.bound_of,
        standing_of=words.standing_of,
        duration=words.duration,
        gauge_of=gauge_of,
        upstream_url=upstream_url,
        parameters_of=parameters_of,
        outcome_of=outcome_of,
    )
    environment.globals["most_table_rows"] = _MOST_TABLE_ROWS
    return environment


def _finalize(value: object) -> object:
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _text(name: str) -> str:
    return Path(__file__).with_name("templates").joinpath(name).read_text(encoding="utf-8")
