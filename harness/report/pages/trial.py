"""The page of a trial: verdict, measures, timeline, events and logs, and how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.files import human_size
from harness.report.events import JOURNAL, Event, events_of
from harness.report.figures import Figure, timeline_figure
from harness.report.formatting import describe, describe_tracks
from harness.report.logs import log_problems
from harness.report.overview import Outcome, outcome_of, rerun_command, title_of
from harness.report.pages.page_frame import PageFrame, render
from harness.report.sanitize import plain
from harness.report.site_model import Entry, SiteModel
from harness.report.timeline_data import Timeline, read_requests, timeline_of
from harness.report.tracks import TimelineTracks, read_tracks
from harness.results import Run, StoredTrial, journal, samples

_MOST_TABLE_ROWS = 150
_AROUND = 10.0  # seconds shown before and after a fault


@dataclass(frozen=True)
class Stretch:
    """A part of the time axis that a button shows."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Content:
    """The contents of a trial's folder, prepared for the page."""

    trial: StoredTrial
    outcome: Outcome
    title: str
    command: str
    replay: str
    timeline: Timeline
    tracks: TimelineTracks
    figure: Figure | None
    stretches: tuple[Stretch, ...]
    captions: tuple[str, ...]
    table: bool
    events: tuple[Event, ...]
    events_left: int
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    damage: tuple[str, ...]


def content_of(run: Run, trial: StoredTrial) -> Content:
    """Read a trial's folder, up to any damage."""
    entries = journal(trial.folder)
    rows = samples(trial.folder, "requests")
    requests, invalid = read_requests(rows.rows)
    timeline = timeline_of(entries.rows, requests, seconds=trial.record.seconds)
    tracks = read_tracks(trial.folder, end=timeline.end)
    damage = [d for d in (entries.damage, rows.damage) if d]
    if invalid:
        damage.append(f"requests.jsonl: {invalid:,} invalid rows were ignored")
    figure = None
    if timeline.requests or timeline.faults or timeline.members or tracks.tracks:
        figure = timeline_figure(timeline, tracks.tracks)
    events, left = events_of(entries.rows, log_problems(trial.folder))
    sources = sorted({e.source for e in events} - {JOURNAL})
    return Content(
        trial=trial,
        outcome=outcome_of(trial),
        title=plain(title_of(trial)),
        command=rerun_command(trial.record.inputs),
        replay=_replay(run, trial),
        timeline=timeline,
        tracks=tracks,
        figure=figure,
        stretches=_stretches(timeline),
        captions=(*describe(timeline), *describe_tracks(tracks.tracks)),
        table=0 < len(timeline.bins) <= _MOST_TABLE_ROWS,
        events=events,
        events_left=left,
        sources=(JOURNAL, *sources),
        groups=tuple(sorted({e.group for e in events})),
        damage=tuple(damage),
    )


def trial_page(model: SiteModel, entry: Entry, frame: PageFrame, *, raw: str | None) -> str:
    """Return the page as text; ``raw`` is its relative path to the trial's folder, if any."""
    return render(
        "trial.html.j2",
        frame,
        model,
        {
            "entry": entry,
            "v": content_of(entry.run, entry.trial),
            "problem": entry.problem,
            "files": _files(entry.trial.folder, raw),
            **_neighbours(model, entry),
        },
    )


def _replay(run: Run, trial: StoredTrial) -> str:
    """Return the command that replays a trial in a virtual machine, "" for any other trial."""
    if not (trial.folder / "job.json").is_file():
        return ""
    return shlex.join(["swarm-chaos", "replay", f"reports/{run.record.id}/trials/{trial.id}"])


def _stretches(timeline: Timeline) -> tuple[Stretch, ...]:
    around = (
        Stretch(
            f"Around {plain(fault.label, 40)}",
            max(timeline.start, fault.start - _AROUND),
            min(timeline.end, fault.end + _AROUND),
        )
        for fault in timeline.faults[:6]
    )
    return (Stretch("Whole trial", timeline.start, timeline.end), *around)


def _files(folder: Path, raw: str | None) -> list[dict[str, object]]:
    """The trial's files, with the way to each where there is one."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [
        {
            "name": (name := path.relative_to(folder).as_posix()),
            "size": human_size(path.stat().st_size),
            "href": f"{raw}/{quote(name)}" if raw is not None else "",
        }
        for path in paths
    ]


def _neighbours(model: SiteModel, entry: Entry) -> dict[str, object]:
    given = entry.trial.record.inputs
    scenario = next(
        (s for s in model.scenarios if (s.scenario, s.control) == (given.scenario, given.control)),
        None,
    )
    around: Sequence[Entry] = scenario.entries if scenario else ()
    place = next((n for n, e in enumerate(around) if e.page == entry.page), None)
    before = around[place - 1] if place else None
    after = around[place + 1] if place is not None and place + 1 < len(around) else None
    return {"scenario": scenario, "before": before, "after": after}
