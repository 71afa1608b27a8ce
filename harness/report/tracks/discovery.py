"""How far service discovery lagged: the answers at each place against the live containers.

An address that is returned after its container is gone is stale; one that is not returned
although its container serves is missing. Both are counted over all places that were queried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.sanitize import one_line
from harness.report.tracks.track import Row, TimelineTrack, lines_of, number_in

Interval = tuple[float, float]


@dataclass(frozen=True)
class _Live:
    """An address of a name: when it is live, and when it must be returned."""

    lives: tuple[Interval, ...]
    wanted: tuple[Interval, ...]


def discovery(rows: Sequence[Row], end: float, containers: Sequence[Row]) -> list[TimelineTrack]:
    """Return stale and missing addresses and unanswered queries, by time."""
    truth = _truth(containers, end)
    stale: list[Interval] = []
    missing: list[Interval] = []
    silent: list[Interval] = []
    for key, views in _places(rows).items():
        known = truth.get((key[1], key[2].removeprefix("tasks.")), {})
        given: dict[str, list[Interval]] = {address: [] for address in known}
        asked: list[Interval] = []
        for at, until, addresses, error in _stretches(views, end):
            if error == "nobody to ask":
                continue
            if error:
                silent.append((at, until))
                continue
            asked.append((at, until))
            for address in addresses:
                if address in given:
                    given[address].append((at, until))
        if not any(given.values()):
            continue  # a virtual address: its targets are in IPVS
        for address, live in known.items():
            stale += _without(given[address], live.lives)
            missing += _without(_within(live.wanted, asked), given[address])
    points = {
        label: _count(intervals, end)
        for label, intervals in (
            ("stale", stale), ("missing", missing), ("no answer", silent),
        )
    }  # fmt: skip
    lines, _ = lines_of(points, steps=True)
    return [
        TimelineTrack(
            "discovery",
            "Discovery",
            lines=lines,
            note="dead addresses returned, or serving ones not returned, over all places",
        )
    ]


def _truth(containers: Iterable[Row], end: float) -> dict[tuple[str, str], dict[str, _Live]]:
    found: dict[tuple[str, str], dict[str, list[tuple[Interval, Interval]]]] = {}
    for row in containers:
        addresses = row.get("addresses")
        started = number_in(row.get("t"))
        if not isinstance(addresses, dict) or started is None:
            continue
        ended = _or(row.get("ended"), end)
        serving, leaving = _or(row.get("serving"), end), min(_or(row.get("leaving"), ended), ended)
        for network, address in addresses.items():
            of_name = found.setdefault((one_line(network), one_line(row.get("service", ""))), {})
            of_name.setdefault(one_line(address), []).append(
                ((started, ended), (min(serving, leaving), leaving))
            )
    return {
        key: {
            address: _Live(tuple(life for life, _ in both), tuple(w for _, w in both))
            for address, both in of_name.items()
        }
        for key, of_name in found.items()
    }


def _places(rows: Iterable[Row]) -> dict[tuple[str, str, str, str], list[Row]]:
    places: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        node, network, name, via = (
            one_line(row.get(k, "")) for k in ("node", "network", "name", "via")
        )
        places.setdefault((node, network, name, via), []).append(row)
    return places


def _stretches(
    views: Sequence[Row], end: float
) -> Iterable[tuple[float, float, tuple[str, ...], str]]:
    """Yield the answers: each holds until the next one differs, the last until its own end."""
    for place, row in enumerate(views):
        at = float(row["t"])
        after = views[place + 1] if place + 1 < len(views) else None
        until = float(after["t"]) if after else min(_or(row.get("until"), end), end)
        answered = row.get("addresses")
        addresses = tuple(map(one_line, answered)) if isinstance(answered, list | tuple) else ()
        yield at, max(at, until), addresses, one_line(row.get("error") or "")


def _or(value: object, otherwise: float) -> float:
    found = number_in(value)
    return otherwise if found is None else found


def _within(intervals: Iterable[Interval], others: Sequence[Interval]) -> list[Interval]:
    return [
        (max(a, c), min(b, d)) for a, b in intervals for c, d in others if max(a, c) < min(b, d)
    ]


def _without(intervals: Iterable[Interval], holes: Sequence[Interval]) -> list[Interval]:
    left = list(intervals)
    for start, stop in holes:
        left = [
            piece
            for a, b in left
            for piece in ((a, min(b, start)), (max(a, stop), b))
            if piece[0] < piece[1]
        ]
    return left


def _count(intervals: Iterable[Interval], end: float) -> list[tuple[float, float | None]]:
    steps = sorted(step for a, b in intervals for step in ((a, 1), (b, -1)))
    counted: list[tuple[float, float | None]] = [(0.0, 0.0)]
    count = 0
    for at, step in steps:
        count += step
        if counted[-1][0] == at:
            counted.pop()
        counted.append((at, float(count)))
    counted.append((max(end, counted[-1][0]), float(count)))
    return counted
