"""The data behind a trial's timeline, from its journal and samples.

Plain numbers only, no drawing; times are trial times (seconds since the trial began). Incomplete
entries are skipped: every record must give a report.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.report.sanitize import one_line

# In the order in which they are stacked: what worked at the bottom, then what the swarm answered
# wrongly, what it did not answer, and last what the load generator itself could not send.
OUTCOMES = ("ok", "4xx", "5xx", "refused", "reset", "timeout", "unreachable", "client")

_BIN_WIDTHS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_MOST_BINS = 150
_OBSERVED = {"load.start", "fault.inject"}
_LEAD_IN = 3.0  # seconds shown before the first of these


class Request(msgspec.Struct, frozen=True):
    """One row of ``samples/requests.jsonl``, as far as the report needs it."""

    t: float
    took: float
    outcome: str
    entry: str = ""


@dataclass(frozen=True)
class Span:
    """Something that lasted: ``label`` from ``start`` to ``end``.

    ``under_fault``: a leader that is still listed while a proven fault affects it. The survivors
    list a dead leader until they elect another; that must not look like leading.
    """

    start: float
    end: float
    label: str
    under_fault: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.start


@dataclass(frozen=True)
class FaultWindow:
    """A fault from its injection until it was seen healed.

    ``proven`` is when evidence of it came (None: never); ``healed`` False: it lasted to the end.
    """

    start: float
    end: float
    fault: str
    target: str
    proven: float | None
    healed: bool

    @property
    def label(self) -> str:
        """The fault and its target."""
        return f"{self.fault}: {self.target}" if self.target else self.fault


@dataclass(frozen=True)
class Bin:
    """The requests that started within one slice of time; percentiles are of the ok ones."""

    start: float
    counts: Mapping[str, int]
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class Timeline:
    """All that one timeline shows, from ``start`` to ``end``.

    ``watched``: whether the members' states were observed; if not, ``members`` only lists them.
    """

    start: float
    end: float
    width: float
    bins: tuple[Bin, ...]
    requests: tuple[Request, ...]
    counts: Mapping[str, int]
    faults: tuple[FaultWindow, ...]
    leaders: tuple[Span, ...]
    members: Mapping[str, tuple[Span, ...]]
    managers: frozenset[str]
    watched: bool

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes that occurred, in the order of stacking."""
        return tuple(o for o in OUTCOMES if self.counts.get(o))


def read_requests(rows: Iterable[Mapping[str, Any]]) -> tuple[tuple[Request, ...], int]:
    """Return the requests in ``rows`` by time, and the number of invalid rows.

    A row with an unknown outcome is invalid, not a success.
    """
    requests: list[Request] = []
    invalid = 0
    for row in rows:
        try:
            request = msgspec.convert(row, Request)
        except msgspec.ValidationError:
            invalid += 1
            continue
        if request.outcome not in OUTCOMES:
            invalid += 1
            continue
        requests.append(request)
    return tuple(sorted(requests, key=lambda r: r.t)), invalid


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile of ascending values, None if there are none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def timeline_of(
    journal: Sequence[Mapping[str, Any]], requests: Sequence[Request], *, seconds: float
) -> Timeline:
    """Compute a trial's timeline; ``seconds`` is the trial's length.

    The axis begins shortly before the first load or fault, or when the swarm was formed if there is
    neither: what came before is lab set-up, and is listed in the events.
    """
    entries = sorted(
        (e for e in journal if _number(e.get("t")) is not None and isinstance(e.get("kind"), str)),
        key=lambda e: float(e["t"]),
    )
    latest = [float(e["t"]) for e in entries] + [r.t for r in requests]
    end = max([seconds, 1.0, *latest])
    begun = [float(e["t"]) for e in entries if e["kind"] in _OBSERVED]
    begun += [r.t for r in requests[:1]]
    begun = begun or [float(e["t"]) for e in entries if e["kind"] == "swarm.formed"]
    start = max(0.0, math.floor(min(begun) - _LEAD_IN)) if begun else 0.0
    width = next((w for w in _BIN_WIDTHS if (end - start) / w <= _MOST_BINS), _BIN_WIDTHS[-1])
    managers, members = _members(entries, end)
    faults = _faults(entries, end)
    return Timeline(
        start=start,
        end=end,
        width=width,
        bins=_bins(requests, width, edge=faults[0].start if faults else start),
        requests=tuple(requests),
        counts=Counter(r.outcome for r in requests),
        faults=faults,
        leaders=_leaders(entries, faults, end),
        members=members,
        managers=managers,
        watched=any(e["kind"] == "node.state" for e in entries),
    )


def _bins(requests: Sequence[Request], width: float, *, edge: float) -> tuple[Bin, ...]:
    if not requests:
        return ()
    # With an edge at the first fault no bin mixes what was before it with what came of it.
    slices: dict[int, list[Request]] = {}
    for request in requests:
        slices.setdefault(math.floor((request.t - edge) / width), []).append(request)
    bins = []
    for number in range(min(slices), max(slices) + 1):
        inside = slices.get(number, [])
        took = sorted(r.took for r in inside if r.outcome == "ok")
        bins.append(
            Bin(
                round(edge + number * width, 3),
                Counter(r.outcome for r in inside),
                percentile(took, 0.50),
                percentile(took, 0.99),
            )
        )
    return tuple(bins)


def _faults(entries: Sequence[Mapping[str, Any]], end: float) -> tuple[FaultWindow, ...]:
    open_faults: dict[str, dict[str, Any]] = {}
    for entry in entries:
        known = open_faults.get(str(entry.get("id")))
        at = float(entry["t"])
        match entry["kind"]:
            case "fault.inject":
                open_faults[str(entry.get("id"))] = {
                    "start": at,
                    "fault": one_line(entry.get("fault", "fault")),
                    "target": _names(entry.get("target")),
                }
            case "fault.evidence" if known:
                known.setdefault("proven", at)
            case "fault.healed" if known:
                known["end"] = at
    return tuple(
        FaultWindow(
            start=f["start"],
            end=f.get("end", end),
            fault=f["fault"],
            target=f["target"],
            proven=f.get("proven"),
            healed="end" in f,
        )
        for f in open_faults.values()
    )


def _leaders(
    entries: Sequence[Mapping[str, Any]], faults: Sequence[FaultWindow], end: float
) -> tuple[Span, ...]:
    sightings = []
    for entry in entries:
        if entry["kind"] in {"leader", "swarm.formed"} and "leader" in entry:
            # ``at`` is when it was seen, ``t`` when it was written down.
            at = _number(entry.get("at"))
            sightings.append(
                (float(entry["t"]) if at is None else at, one_line(entry["leader"] or ""))
            )
    seen: list[tuple[float, str]] = []
    for when, name in sorted(sightings, key=lambda s: s[0]):
        if not seen or seen[-1][1] != name:
            seen.append((when, name))
    return tuple(part for span in _spans(seen, end) for part in _at_faults(span, faults))


def _at_faults(span: Span, faults: Sequence[FaultWindow]) -> tuple[Span, ...]:
    hurt = [f for f in faults if f.proven is not None and span.label in f.target.split(", ")]
    hurt = [f for f in hurt if f.start < span.end and f.end > span.start]
    if not span.label or not hurt:
        return (span,)
    start = max(span.start, min(f.start for f in hurt))
    end = min(span.end, max(f.end for f in hurt))
    parts = (
        Span(span.start, start, span.label),
        Span(start, end, span.label, under_fault=True),
        Span(end, span.end, span.label),
    )
    return tuple(part for part in parts if part.seconds > 0)


def _members(
    entries: Sequence[Mapping[str, Any]], end: float
) -> tuple[frozenset[str], dict[str, tuple[Span, ...]]]:
    managers: set[str] = set()
    seen: dict[str, list[tuple[float, str]]] = {}
    for entry in entries:
        at = float(entry["t"])
        if entry["kind"] == "swarm.formed":
            chosen = [one_line(n) for n in _list(entry.get("managers"))]
            managers.update(chosen)
            for name in (*chosen, *(one_line(n) for n in _list(entry.get("workers")))):
                seen.setdefault(name, []).append((at, "ready"))
        elif entry["kind"] == "node.state" and entry.get("node"):
            states = seen.setdefault(one_line(entry["node"]), [])
            state = one_line(entry.get("state", "unknown"))
            if not states or states[-1][1] != state:
                states.append((at, state))
    ordered = sorted(seen, key=lambda n: (n not in managers, n))
    return frozenset(managers), {name: _spans(seen[name], end) for name in ordered}


def _spans(seen: Sequence[tuple[float, str]], end: float) -> tuple[Span, ...]:
    ends = [*(at for at, _ in seen[1:]), end][: len(seen)]
    return tuple(Span(at, to, name) for (at, name), to in zip(seen, ends, strict=True))


def _names(value: Any) -> str:
    return ", ".join(one_line(v) for v in _list(value))


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
