"""Numbers and happenings in words: what tables, captions and screen readers say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from harness.report.tracks import Lane
from harness.report.sanitize import plain
from harness.report.timeline_data import FaultWindow, Span, Timeline
from harness.trial import Measure

SIGNS = {"below": "≤", "above": "≥", "equals": "="}


def number(value: float) -> str:
    """A number to four significant digits, in plain notation where that can be read."""
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds:,.0f} s"


def share(part: float, whole: float) -> str:
    """A share in percent; a little is never rounded to nothing, nor nearly all to all."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if 0 < percent < 100 else f"{percent:.0f} %"


def value_of(measure: Measure) -> str:
    """A measure's value with its unit."""
    if measure.value is None:
        return "not measured"
    return ("> " if measure.censored else "") + quantity(measure.value, measure)


def bound_of(measure: Measure) -> str:
    """A measure's bound with its unit, "" if it has none."""
    if measure.bound is None:
        return ""
    return f"{SIGNS[measure.bound.op]} {quantity(measure.bound.limit, measure)}"


def quantity(value: float, measure: Measure) -> str:
    """A value in the measure's unit. The unit 1 with a bound within (0, 1) is read as a share."""
    if measure.unit != "1":
        return f"{number(value)} {measure.unit}"
    if measure.bound is not None and 0 < measure.bound.limit < 1:
        return f"{number(round(100 * value, 6))} %"
    return number(value)


def standing_of(measure: Measure) -> str:
    """Whether a measure keeps its bound, in a word or two."""
    if measure.value is None:
        return "not measured"
    if measure.bound is None:
        return "no bound"
    return {True: "holds", False: "broken", None: "undecided"}[measure.ok]


def wall_time(iso: str) -> str:
    """An ISO time as people write it; what is no such time goes through unchanged."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = "UTC" if when.utcoffset() is not None and not when.utcoffset() else when.strftime("%Z")
    return f"{when.day} {when:%B %Y, %H:%M:%S} {zone}".strip()


def describe_load(timeline: Timeline) -> str:
    """The traffic in a sentence, "" without any."""
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
    """What was injected, in sentences."""
    return " ".join(_fault(f) for f in timeline.faults)


def describe_leaders(timeline: Timeline) -> str:
    """Who led, in a sentence; the times without a leader are counted."""
    spans = [s for s in timeline.leaders if s.end > timeline.start]
    if not spans:
        return ""
    steps = [_leader(s) for s in spans]
    return f"{_listed(steps, joint='then')}."


def describe_members(timeline: Timeline) -> str:
    """Which members were not ready, and when."""
    bad = [
        f"{name} is {s.label} from {s.start:.1f} s to {s.end:.1f} s"
        for name, spans in timeline.members.items()
        for s in spans
        if s.label != "ready"
    ]
    if not timeline.members:
        return ""
    if not timeline.watched:
        return "The members' states were not watched."
    return f"{_listed(bad)}." if bad else "All members stay ready in the swarm's eyes."


def describe(timeline: Timeline) -> list[str]:
    """The whole picture in sentences: faults, load, leader, members."""
    sentences = (
        describe_faults(timeline),
        describe_load(timeline),
        describe_leaders(timeline),
        describe_members(timeline),
    )
    return [plain(s) for s in sentences if s]


def describe_lanes(lanes: Sequence[Lane]) -> list[str]:
    """What probes sampled, a sentence for each lane with its least and greatest value."""
    return [plain(sentence) for lane in lanes if (sentence := _lane(lane))]


def _lane(lane: Lane) -> str:
    unit = f" {lane.unit}" if lane.unit not in {"", "1"} else ""
    if lane.lines:
        values = [v for line in lane.lines for v in line.known]
        if not values:
            return ""
        most = max(lane.lines, key=lambda line: max(line.known, default=-math.inf))
        at = f" ({most.label})" if most.label and len(lane.lines) > 1 else ""
        return (
            f"{lane.title}: from {number(min(values))} to {number(max(values))}{unit}{at}, "
            f"{len(lane.lines)} {'line' if len(lane.lines) == 1 else 'lines'}."
        )
    if lane.dots:
        told = [f"{len(times):,} {name}" for name, times in lane.dots.items()]
        return f"{lane.title}: {', '.join(told)}."
    states = dict.fromkeys(s.label for spans in lane.bands.values() for s in spans)
    return f"{lane.title}: {len(lane.bands)} rows; states seen: {', '.join(states)}."


def _leader(span: Span) -> str:
    since, lasted = f"{max(span.start, 0):.1f} s", duration(span.seconds)
    if not span.label:
        return f"nobody leads from {since} for {lasted}"
    if span.under_fault:
        return f"{span.label} is named leader but under fault from {since} for {lasted}"
    return f"{span.label} leads from {since}"


def _fault(fault: FaultWindow) -> str:
    until = f"healed at {fault.end:.1f} s" if fault.healed else "not healed"
    proven = (
        "no evidence that it took effect"
        if fault.proven is None
        else f"proven at {fault.proven:.1f} s"
    )
    words = f"{fault.label} at {fault.start:.1f} s ({proven}, {until})."
    return words[0].upper() + words[1:]


def _listed(parts: list[str], *, joint: str = "and") -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])}{',' if joint == 'then' else ''} {joint} {parts[-1]}"
