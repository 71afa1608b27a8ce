"""Samples of probes as tracks of the timeline: lines of numbers, bands of states, dots.

A probe's file is ``samples/<name>.jsonl``, an object per line with ``t`` in trial seconds
(docs/reference.md). Known
files have a module of their own, any other file is shown by its contents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report.sanitize import one_line
from harness.report.tracks.discovery import discovery
from harness.report.tracks.generic_tracks import generic_tracks
from harness.report.tracks.probe_tracks import TRACKS_BY_FILE, tasks
from harness.report.tracks.track import Line, Row, TimelineTrack, timed
from harness.results import samples

__all__ = ["Line", "TimelineTrack", "TimelineTracks", "read_tracks"]

_ELSEWHERE = frozenset({"requests", "leadership", "generator", "containers"})
"""Files that other parts of the page show, or that others are compared with."""

_ORDER = (
    "discovery", "reachability", "tasks", "api", "gossip", "dockerd_logs", "memory", "gelf",
)  # fmt: skip
_MISSED: Mapping[str, tuple[str, ...]] = {
    "discovery": ("discovery",), "memory": ("memory",), "gossip": ("gossip", "dockerd_logs"),
}  # fmt: skip
"""What readers look for, and the files that would show it."""
_MOST_TRACKS = 14


@dataclass(frozen=True)
class TimelineTracks:
    """All tracks of a trial, and remarks about missing or damaged ones."""

    tracks: tuple[TimelineTrack, ...]
    remarks: tuple[str, ...]


def read_tracks(folder: Path, *, end: float) -> TimelineTracks:
    """Read the samples of the trial in ``folder``; ``end`` closes the last state."""
    found: list[TimelineTrack] = []
    remarks: list[str] = []
    there = {path.stem for path in (folder / "samples").glob("*.jsonl")} - _ELSEWHERE
    for name in (*(n for n in _ORDER if n in there), *sorted(there - set(_ORDER))):
        read = samples(folder, name)
        if read.damage:
            remarks.append(read.damage)
        made = [
            track for track in _tracks_in(folder, name, timed(read.rows), end) if not track.empty
        ]
        if not made:
            remarks.append(f"samples/{one_line(name)}.jsonl contains nothing that can be drawn")
        found += made
    if missed := [label for label, names in _MISSED.items() if not there & set(names)]:
        remarks.append(f"Not sampled in this trial: {', '.join(missed)}")
    if len(found) > _MOST_TRACKS:
        left = ", ".join(dict.fromkeys(track.title for track in found[_MOST_TRACKS:]))
        remarks.append(f"Not drawn, to keep the chart readable: {left}")
    return TimelineTracks(tuple(found[:_MOST_TRACKS]), tuple(remarks))


def _tracks_in(folder: Path, name: str, rows: Sequence[Row], end: float) -> list[TimelineTrack]:
    if not rows:
        return []
    if name in {"discovery", "tasks"}:
        containers = timed(samples(folder, "containers").rows)
        return (discovery if name == "discovery" else tasks)(rows, end, containers)
    if name in TRACKS_BY_FILE:
        return TRACKS_BY_FILE[name](rows, end)
    return generic_tracks(one_line(name), rows, end)
