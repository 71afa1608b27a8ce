"""Numbers and events as text for tables, captions and screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from harness.report.sanitize import plain
from harness.report.timeline_data import FaultWindow, Span, Timeline
from harness.report.tracks import TimelineTrack
from harness.trial import Measure, limit_text, number_text, quantity_text

SIGNS = {"below": "≤", "above": "≥", "equals": "="}
"""For the labels of charts, where words would not fit."""


def duration(seconds: float) -> str:
    """Return a duration in µs, ms or s."""
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds:,.0f} s"


def share(part: float, whole: float) -> str:
    """Return a share in percent that is never rounded to 0 % or 100 %."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.05:
        return "less than 0.1 %"
    if 99.95 <= percent < 100:
        return "more than 99.9 %"
    return f"{percent:.1f} %" if 0 < percent < 100 else f"{percent:.0f} %"


def value_of(measure: Measure) -> str:
    """Return a measure's value with its unit."""
    return measure.shown


def bound_of(measure: Measure) -> str:
    """Return a measure's bound with its unit, "" if it has none."""
    return "" if measure.bound is None else limit_text(measure.bound, measure.unit)


def quantity(value: float, measure: Measure) -> str:
    """Return a value with the measure's unit; unit 1 with a bound within (0, 1) is a share."""
    return quantity_text(value, measure.unit, measure.bound)


def standing_of(measure: Measure) -> str:
    """Return whether a measure keeps its bound: holds, broken, undecided, and so on."""
    if measure.value is None:
        return "not measured"
    if measure.bound is None:
        return "no bound"
    return {True: "holds", False: "broken", None: "undecided"}[measure.ok]


def wall_time(iso: str) -> str:
    """Return an ISO time as people write it, and anything else unchanged."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = "UTC" if when.utcoffset() is not None and not when.utcoffset() else when.strftime("%Z")
    return f"{when.day} {when:%B %Y, %H:%M:%S} {zone}".strip()


def describe_load(timeline: Timeline) -> str:
    """Return a sentence about the load, "" without any."""
    total = len(timeline.requests)
    if not total:
        return ""
    first, last = timeline.requests[0].t, timeline.requests[-1].t
    parts = [
        f"{timeline.counts[o]:,} {o} ({share(timeline.counts[o], total)})"
        for o in timeline.outcomes
    ]
    return f"{total:,} requests from {first:.1f} s to {last:.1f} s: {_listed(parts)}."


def describe_faults(timeline: Timeline) -> str:
    """Return sentences about the faults."""
    return " ".join(_fault(f) for f in timeline.faults)


def describe_leaders(timeline: Timeline) -> str:
    """Return a sentence about the leaders and the times without one."""
    spans = [s for s in timeline.leaders if s.end > timeline.start]
    if not spans:
        return ""
    steps = [_leader(s) for s in spans]
    return f"{_listed(steps, joint='then')}."


def describe_members(timeline: Timeline) -> str:
    """Return a sentence about the members that were not ready, "" without members."""
    bad = [
        f"{name} is {s.label} from {s.start:.1f} s to {s.end:.1f} s"
        for name, spans in timeline.members.items()
        for s in spans
        if s.label != "ready"
    ]
    if not timeline.members:
        return ""
    if not timeline.watched:
        return "The states of the members were not observed."
    return f"{_listed(bad)}." if bad else "All members stay ready, as the swarm sees them."


def describe(timeline: Timeline) -> list[str]:
    """Describe a timeline in sentences: faults, load, leader, members."""
    sentences = (
        describe_faults(timeline),
        describe_load(timeline),
        describe_leaders(timeline),
        describe_members(timeline),
    )
    return [plain(s) for s in sentences if s]


def describe_tracks(tracks: Sequence[TimelineTrack]) -> list[str]:
    """Return a sentence for each track, with its minimum and maximum."""
    return [plain(sentence) for track in tracks if (sentence := _track(track))]


def _track(track: TimelineTrack) -> str:
    unit = f" {track.unit}" if track.unit not in {"", "1"} else ""
    if track.lines:
        values = [v for line in track.lines for v in line.known]
        if not values:
            return ""
        most = max(track.lines, key=lambda line: max(line.known, default=-math.inf))
        at = f" ({most.label})" if most.label and len(track.lines) > 1 else ""
        return (
            f"{track.title}: from {number_text(min(values))} to {number_text(max(values))}"
            f"{unit}{at}, "
            f"{len(track.lines)} {'line' if len(track.lines) == 1 else 'lines'}."
        )
    if track.dots:
        counts = [f"{len(times):,} {name}" for name, times in track.dots.items()]
        return f"{track.title}: {', '.join(counts)}."
    states = dict.fromkeys(s.label for spans in track.bands.values() for s in spans)
    return (
        f"{track.title}: {len(track.bands)} {'row' if len(track.bands) == 1 else 'rows'}, "
        f"with the states {', '.join(states)}."
    )


def _leader(span: Span) -> str:
    since, lasted = f"{max(span.start, 0):.1f} s", duration(span.seconds)
    if not span.label:
        return f"there is no leader from {since} for {lasted}"
    if span.under_fault:
        return f"{span.label} is still listed as leader, under a fault, from {since} for {lasted}"
    return f"{span.label} leads from {since}"


def _fault(fault: FaultWindow) -> str:
    until = f"healed at {fault.end:.1f} s" if fault.healed else "not healed"
    proven = (
        "no evidence that it took effect"
        if fault.proven is None
        else f"took effect by {fault.proven:.1f} s"
    )
    text = f"{fault.label} at {fault.start:.1f} s ({proven}, {until})."
    return text[0].upper() + text[1:]


def _listed(parts: list[str], *, joint: str = "and") -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])}{',' if joint == 'then' else ''} {joint} {parts[-1]}"
