"""Tracks of any other probe's file, by the contents of its rows.

Numbers become lines, one for each place they were taken at; states become bands.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.sanitize import one_line
from harness.report.tracks.track import Row, TimelineTrack, bands_of, lines_of, number_in

#: What tells one line of a track from another, in the order in which they are shown.
_KEYS = (
    "node", "by", "at", "source", "from", "entry", "target", "to", "network", "service", "slot",
    "task", "peer", "host", "name", "via", "process", "what",
)  # fmt: skip
_STATES = ("state", "status", "outcome", "ok", "up", "alive", "reachable", "healthy", "mode")
_NOT_NUMBERS = frozenset({"t", "load", "user", "due", "pid", "number", "term", "index", "version"})
_UNITS = (
    ("_seconds", "s", 1.0), ("_s", "s", 1.0), ("_bytes", "MiB", 1 / (1 << 20)),
    ("_kib", "MiB", 1 / 1024), ("_mib", "MiB", 1.0), ("_share", "1", 1.0),
)  # fmt: skip


def generic_tracks(name: str, rows: Sequence[Row], end: float) -> list[TimelineTrack]:
    """Return the tracks of a file; ``rows`` are in order of time."""
    title = name.replace("_", " ").replace("-", " ").capitalize()
    keys = _keys(rows)
    numbers = list(
        dict.fromkeys(
            key
            for row in rows
            for key, value in row.items()
            if key not in _NOT_NUMBERS and number_in(value) is not None
        )
    )
    tracks = []
    for key in numbers:
        quantity, unit, scale = _name_and_unit(key)
        points: dict[str, list[tuple[float, float | None]]] = {}
        for row in rows:
            if key in row:
                value = number_in(row[key])
                points.setdefault(_label(row, keys), []).append(
                    (float(row["t"]), None if value is None else value * scale)
                )
        lines, left = lines_of(dict(sorted(points.items())))
        head = title if len(numbers) == 1 else f"{title}: {quantity}"
        tracks.append(TimelineTrack(name, head, unit, lines=lines, left_out=left))
    if tracks:
        return tracks
    for key in _STATES:
        changes: dict[str, list[tuple[float, str]]] = {}
        for row in rows:
            value = row.get(key)
            if isinstance(value, str | bool):
                state = {"True": "yes", "False": "no"}.get(str(value), one_line(value))
                changes.setdefault(_label(row, keys), []).append((float(row["t"]), state))
        if changes:
            bands, left = bands_of(changes, end=end)
            return [TimelineTrack(name, title, bands=bands, left_out=left)]
    return []


def _keys(rows: Sequence[Row]) -> tuple[str, ...]:
    texts = [k for k in _KEYS if any(isinstance(row.get(k), str) and row[k] for row in rows)]
    # A key that never changes distinguishes nothing; but one has to stay to name the line.
    telling = [k for k in texts if len({str(row.get(k)) for row in rows}) > 1]
    return tuple(telling or texts[:1])


def _name_and_unit(key: str) -> tuple[str, str, float]:
    for suffix, unit, scale in _UNITS:
        if key.endswith(suffix):
            return key.removesuffix(suffix).replace("_", " "), unit, scale
    return key.replace("_", " "), "", 1.0


def _label(row: Row, keys: Sequence[str]) -> str:
    return " ".join(one_line(row[k]) for k in keys if row.get(k))
