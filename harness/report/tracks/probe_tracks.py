"""Tracks of the known probes: memory, tasks, reachability, logs, the GELF sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.report.sanitize import one_line
from harness.report.tracks.track import Row, TimelineTrack, bands_of, lines_of, number_in

_MIB = 1 << 20

#: Field of ``samples/memory.jsonl``: title, unit, what to divide by.
_QUANTITIES = {
    "rss": ("Memory of dockerd, resident", "MiB", _MIB),
    "heap": ("Memory of dockerd, Go's heap", "MiB", _MIB),
    "goroutines": ("Goroutines of dockerd", "", 1),
    "files": ("Open files of dockerd", "", 1),
}


def memory(rows: Sequence[Row], end: float) -> list[TimelineTrack]:  # noqa: ARG001
    """Return a track for each quantity of the daemons, with a line for each node."""
    tracks = []
    for field, (title, unit, by) in _QUANTITIES.items():
        points: dict[str, list[tuple[float, float | None]]] = {}
        for row in rows:
            value = number_in(row.get(field))
            points.setdefault(one_line(row.get("node", "")), []).append(
                (float(row["t"]), None if value is None else value / by)
            )
        if any(p[1] is not None for of_node in points.values() for p in of_node):
            lines, left = lines_of(points)
            tracks.append(
                TimelineTrack("memory", title, unit, lines=lines, left_out=left, from_zero=False)
            )
    return tracks


def tasks(rows: Sequence[Row], end: float, containers: Sequence[Row] = ()) -> list[TimelineTrack]:
    """Return the running tasks of each service: as a manager lists them, and as containers."""
    states: dict[str, dict[str, bool]] = {}
    points: dict[str, list[tuple[float, float | None]]] = {}
    for row in rows:
        service = one_line(row.get("service", ""))
        running = states.setdefault(service, {})
        running[str(row.get("task", ""))] = row.get("state") == "running"
        points.setdefault(f"{service}, listed", []).append(
            (float(row["t"]), float(sum(running.values())))
        )
    for service, steps in _living(containers).items():
        points[f"{service}, containers"] = [*steps, (end, steps[-1][1])]
    for label, of_it in points.items():
        if label.endswith(", listed"):
            of_it.append((max(end, of_it[-1][0]), of_it[-1][1]))
    lines, left = lines_of(points, steps=True)
    return [TimelineTrack("tasks", "Running tasks", lines=lines, left_out=left)] if lines else []


def _living(containers: Sequence[Row]) -> dict[str, list[tuple[float, float | None]]]:
    steps: dict[str, list[tuple[float, int]]] = {}
    for row in containers:
        of_it = steps.setdefault(one_line(row.get("service", "")), [])
        of_it.append((max(0.0, float(row["t"])), 1))
        ended = number_in(row.get("ended"))
        if ended is not None:
            of_it.append((max(0.0, ended), -1))
    living: dict[str, list[tuple[float, float | None]]] = {}
    for service, of_it in steps.items():
        count = 0
        for at, step in sorted(of_it):
            count += step
            living.setdefault(service, []).append((at, float(count)))
    return living


def reachability(rows: Sequence[Row], end: float) -> list[TimelineTrack]:
    """Return the outcome of the last request from each source to each target."""
    return [_outcomes("reachability", "Reachability", rows, end, ("source", "target"))]


def api(rows: Sequence[Row], end: float) -> list[TimelineTrack]:
    """Return the outcome of the last API request of each kind at each manager."""
    return [_outcomes("api", "Managers' API", rows, end, ("by", "op"))]


def _outcomes(
    source: str, title: str, rows: Sequence[Row], end: float, keys: tuple[str, str]
) -> TimelineTrack:
    changes: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        way = " → ".join(one_line(row.get(key, "?")) for key in keys)
        changes.setdefault(way, []).append((float(row["t"]), one_line(row.get("outcome", "?"))))
    # Where nothing went wrong there is nothing to see, and there may be more than can be drawn.
    bad = {way: of_it for way, of_it in changes.items() if any(s != "ok" for _, s in of_it)}
    shown, left = bands_of(dict(sorted((bad or changes).items())), end=end)
    calm = len(changes) - len(bad) if bad else 0
    note = f"{calm} without failures not drawn" if calm else ""
    return TimelineTrack(source, title, bands=shown, note=note, left_out=left)


def gossip(rows: Sequence[Row], end: float) -> list[TimelineTrack]:
    """Return what members report of each other, and how many peers each sees."""
    dots: dict[str, list[float]] = {}
    peers: dict[str, list[tuple[float, float | None]]] = {}
    networks = {str(row.get("network")) for row in rows if row.get("kind") == "peers"}
    for row in rows:
        kind = one_line(row.get("kind", "?"))
        if kind != "peers":
            dots.setdefault(kind, []).append(float(row["t"]))
            continue
        seen = row.get("peers")
        keys = ("by", "network") if len(networks) > 1 else ("by",)
        label = " ".join(one_line(row.get(key, "")) for key in keys)
        count = float(len(seen)) if isinstance(seen, list | tuple) else number_in(seen)
        peers.setdefault(label, []).append((float(row["t"]), count))
    for points in peers.values():
        points.append((max(end, points[-1][0]), points[-1][1]))
    lines, left = lines_of(dict(sorted(peers.items())), steps=True)
    tracks = [
        TimelineTrack("gossip", "Gossip", dots={k: tuple(v) for k, v in sorted(dots.items())},
             note="a dot for each report of one member about another"),
        TimelineTrack("gossip", "Gossip: peers seen", lines=lines, left_out=left),
    ]  # fmt: skip
    return [track for track in tracks if not track.empty]


def dockerd_logs(rows: Sequence[Row], end: float) -> list[TimelineTrack]:  # noqa: ARG001
    """Return a dot for each line about gossip or raft in the daemons' logs, by pattern."""
    dots: dict[str, list[float]] = {}
    for row in rows:
        dots.setdefault(one_line(row.get("pattern", "?")), []).append(float(row["t"]))
    return [
        TimelineTrack(
            "dockerd_logs",
            "Logs of gossip and raft",
            dots={name: tuple(times) for name, times in sorted(dots.items())},
            note="a dot for each line in dockerd's logs",
        )
    ]


def gelf(rows: Sequence[Row], end: float) -> list[TimelineTrack]:  # noqa: ARG001
    """Return the rate and age of the lines that the GELF sink received."""
    tracks = []
    for field, title, unit in (
        ("lines", "Lines received by the GELF sink", "1/s"),
        ("oldest", "Age of the oldest line on arrival", "s"),
    ):
        lines, _ = lines_of({"": [(float(r["t"]), number_in(r.get(field))) for r in rows]})
        if lines and lines[0].known:
            tracks.append(TimelineTrack("gelf", title, unit, lines=lines))
    return tracks


TRACKS_BY_FILE: Mapping[str, Callable[[Sequence[Row], float], list[TimelineTrack]]] = {
    "memory": memory,
    "reachability": reachability,
    "api": api,
    "gossip": gossip,
    "dockerd_logs": dockerd_logs,
    "gelf": gelf,
}
"""File name to what makes its tracks; discovery and tasks need a second file and stand apart."""
