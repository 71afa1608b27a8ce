"""The page of a trial: verdict, measures, timeline, events and logs, and how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.report import formatting
from harness.report.events import JOURNAL, Event, events_of
from harness.report.figures import Figure, timeline_figure
from harness.report.tracks import Lanes, lanes_of
from harness.report.logs import complaints
from harness.report.overview import Outcome, outcome_of, rerun_command, title_of
from harness.report.pages.page_frame import Place, render
from harness.report.sanitize import plain
from harness.report.site_model import Entry, Found
from harness.report.timeline_data import Timeline, read_requests, timeline_of
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
    """What a trial's folder holds, worked out for the page."""

    trial: StoredTrial
    outcome: Outcome
    title: str
    command: str
    replay: str
    timeline: Timeline
    lanes: Lanes
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
    """Read a trial's folder as far as it goes."""
    entries = journal(trial.folder)
    rows = samples(trial.folder, "requests")
    requests, strange = read_requests(rows.rows)
    timeline = timeline_of(entries.rows, requests, seconds=trial.record.seconds)
    lanes = lanes_of(trial.folder, end=timeline.end)
    damage = [d for d in (entries.damage, rows.damage) if d]
    if strange:
        damage.append(f"requests.jsonl: {strange:,} rows are no requests and are left out")
    figure = None
    if timeline.requests or timeline.faults or timeline.members or lanes.lanes:
        figure = timeline_figure(timeline, lanes.lanes)
    events, left = events_of(entries.rows, complaints(trial.folder))
    sources = sorted({e.source for e in events} - {JOURNAL})
    return Content(
        trial=trial,
        outcome=outcome_of(trial),
        title=plain(title_of(trial)),
        command=rerun_command(trial.record.inputs),
        replay=_replay(run, trial),
        timeline=timeline,
        lanes=lanes,
        figure=figure,
        stretches=_stretches(timeline),
        captions=(*formatting.describe(timeline), *formatting.describe_lanes(lanes.lanes)),
        table=0 < len(timeline.bins) <= _MOST_TABLE_ROWS,
        events=events,
        events_left=left,
        sources=(JOURNAL, *sources),
        groups=tuple(sorted({e.group for e in events})),
        damage=tuple(damage),
    )


def trial_page(found: Found, entry: Entry, place: Place, *, raw: str | None) -> str:
    """The page as text; ``raw`` is the way from it to the trial's folder, if there is one."""
    return render(
        "trial.html.j2",
        place,
        found,
        {
            "entry": entry,
            "v": content_of(entry.run, entry.trial),
            "lost": entry.lost,
            "files": _files(entry.trial.folder, raw),
            **_neighbours(found, entry),
        },
    )


def _replay(run: Run, trial: StoredTrial) -> str:
    """The command that sends the same guest again, "" for a trial that was in none."""
    if not (trial.folder / "errand.json").is_file():
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
            "size": _size(path.stat().st_size),
            "href": f"{raw}/{quote(name)}" if raw is not None else "",
        }
        for path in paths
    ]


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.0f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def _neighbours(found: Found, entry: Entry) -> dict[str, object]:
    given = entry.trial.record.inputs
    scenario = next(
        (s for s in found.scenarios if (s.scenario, s.control) == (given.scenario, given.control)),
        None,
    )
    around: Sequence[Entry] = scenario.entries if scenario else ()
    place = next((n for n, e in enumerate(around) if e.page == entry.page), None)
    before = around[place - 1] if place else None
    after = around[place + 1] if place is not None and place + 1 < len(around) else None
    return {"scenario": scenario, "before": before, "after": after}
