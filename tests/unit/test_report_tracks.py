"""Timeline tracks from samples: of known files, and of any other by its contents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.formatting import describe_tracks
from harness.report.tracks import TimelineTracks, read_tracks
from harness.report.tracks.discovery import _without
from harness.report.tracks.track import thinned


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Any]:
    """Write a probe's samples; gives back the tracks of the folder."""
    (tmp_path / "samples").mkdir()

    def one(end: float = 100.0, **files: Any) -> TimelineTracks:
        for name, rows in files.items():
            lines = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
            (tmp_path / "samples" / f"{name}.jsonl").write_text(lines)
        return read_tracks(tmp_path, end=end)

    return one


def steps(track: Any, label: str) -> Any:
    [line] = [line for line in track.lines if line.label == label]
    return list(zip(line.times, line.values, strict=True))


def container(
    t: int,
    address: str,
    *,
    ended: Any = None,
    serving: Any = None,
    leaving: Any = None,
    service: str = "web",
) -> dict[str, Any]:
    return {
        "t": t, "node": "m1", "service": service, "slot": "1", "task": address,
        "addresses": {"chaos": address}, "serving": t if serving is None else serving,
        "leaving": leaving, "ended": ended,
    }  # fmt: skip


def view(
    t: float, until: Any, addresses: Any, error: str = "", name: str = "tasks.web", node: str = "w1"
) -> dict[str, Any]:
    return {
        "t": t, "until": until, "node": node, "network": "chaos", "name": name, "via": "dns",
        "addresses": addresses, "error": error,
    }  # fmt: skip


def test_an_address_given_after_its_container_ended_is_stale(write: Callable[..., Any]) -> None:
    [track] = write(
        containers=[container(0, "a", ended=10.0), container(0, "b")],
        discovery=[view(1, 14.0, ["a", "b"]), view(14.5, 90.0, ["b"])],
    ).tracks
    assert steps(track, "stale") == [(0.0, 0.0), (10.0, 1.0), (14.5, 0.0), (100.0, 0.0)]
    assert {value for _, value in steps(track, "missing")} == {0.0}


def test_a_serving_container_that_is_not_given_is_missing(write: Callable[..., Any]) -> None:
    [track] = write(
        containers=[container(0, "a"), container(20, "b", serving=22.0)],
        discovery=[view(1, 24.0, ["a"]), view(25, 90.0, ["a", "b"])],
    ).tracks
    assert steps(track, "missing")[1:3] == [(22.0, 1.0), (25.0, 0.0)]
    assert {value for _, value in steps(track, "stale")} == {0.0}


def test_silence_is_neither_stale_nor_missing(write: Callable[..., Any]) -> None:
    [track] = write(
        containers=[container(0, "a")],
        discovery=[
            view(1, 9.0, ["a"]), view(10, 19.0, [], "SERVFAIL"),
            view(20, 29.0, [], "nobody to ask"), view(30, 90.0, ["a"]),
        ],
    ).tracks  # fmt: skip
    assert {value for _, value in steps(track, "missing")} == {0.0}
    assert steps(track, "no answer") == [(0.0, 0.0), (10.0, 1.0), (20.0, 0.0), (100.0, 0.0)]


def test_a_virtual_address_is_not_held_against_containers(write: Callable[..., Any]) -> None:
    [track] = write(
        containers=[container(0, "a")], discovery=[view(1, 90.0, ["10.0.0.2"], name="web")]
    ).tracks
    assert {v for line in track.lines for v in line.values} == {0.0}


def test_running_tasks_are_counted_as_listed_and_as_they_live(write: Callable[..., Any]) -> None:
    task = {"task": "x", "service": "web", "slot": "1", "node": "m1"}
    [track] = write(
        containers=[container(3, "a", ended=40.0)],
        tasks=[{**task, "t": 4, "state": "running"}, {**task, "t": 55, "state": "failed"}],
    ).tracks
    assert steps(track, "web, listed") == [(4.0, 1.0), (55.0, 0.0), (100.0, 0.0)]
    assert steps(track, "web, containers") == [(3.0, 1.0), (40.0, 0.0), (100.0, 0.0)]


def test_memory_has_a_lane_for_each_quantity_and_gaps_where_nothing_was_to_be_had(
    write: Callable[..., Any],
) -> None:
    rows = [
        {"t": t, "node": n, "pid": 1, "rss": 1 << 20, "heap": None if t else 2 << 20, "files": 9}
        for t in (0, 1)
        for n in ("m1", "m2")
    ]
    tracks = {track.title: track for track in write(memory=rows).tracks}
    assert list(tracks) == [
        "Memory of dockerd, resident", "Memory of dockerd, Go's heap", "Open files of dockerd",
    ]  # fmt: skip
    heap = tracks["Memory of dockerd, Go's heap"]
    assert [(line.label, line.values) for line in heap.lines] == [
        ("m1", (2.0, None)), ("m2", (2.0, None)),
    ]  # fmt: skip


def test_only_ways_that_failed_are_drawn_of_reachability(write: Callable[..., Any]) -> None:
    rows = [
        {"t": t, "source": "outside", "target": target, "outcome": outcome}
        for t, target, outcome in ((1, "m1", "ok"), (2, "m1", "timeout"), (1, "m2", "ok"))
    ]
    [track] = write(reachability=rows).tracks
    assert [[s.label for s in spans] for spans in track.bands.values()] == [["ok", "timeout"]]
    assert track.note == "1 without failures not drawn"


def test_gossip_has_dots_for_what_was_said_and_lines_for_the_peers(
    write: Callable[..., Any],
) -> None:
    said = {"by": "m1", "about": "w1"}
    dots, peers = write(
        gossip=[
            {**said, "t": 3, "kind": "suspect"}, {**said, "t": 5, "kind": "failed"},
            {"t": 1, "by": "m1", "kind": "peers", "network": "n", "peers": ["m1", "w1"]},
            {"t": 6, "by": "m1", "kind": "peers", "network": "n", "peers": None},
        ]
    ).tracks  # fmt: skip
    assert dict(dots.dots) == {"failed": (5.0,), "suspect": (3.0,)}
    assert steps(peers, "m1") == [(1.0, 2.0), (6.0, None), (100.0, None)]


def test_an_unknown_file_is_shown_by_what_it_holds(write: Callable[..., Any]) -> None:
    found = write(
        queue=[{"t": t, "node": n, "depth_bytes": 1 << 20} for t in (1, 2) for n in ("m1", "m2")],
        doors=[{"t": 1, "node": "m1", "up": True}, {"t": 5, "node": "m1", "up": False}],
    )
    doors, queue = found.tracks
    assert (queue.title, queue.unit, [line.label for line in queue.lines]) == (
        "Queue", "MiB", ["m1", "m2"],
    )  # fmt: skip
    assert [(s.start, s.end, s.label) for s in doors.bands["m1"]] == [
        (1.0, 5.0, "yes"), (5.0, 100.0, "no"),
    ]  # fmt: skip
    assert describe_tracks(found.tracks) == [
        "Doors: 1 row, with the states yes, no.", "Queue: from 1 to 1 MiB (m1), 2 lines.",
    ]  # fmt: skip


def test_what_is_absent_or_damaged_is_said(write: Callable[..., Any]) -> None:
    found = write(memory=['{"t": 1, "node": "m1", "rss": 1}\n', "!\n", "{}\n"], odd=[{"x": 1}])
    assert len(found.tracks) == 1
    assert any("memory.jsonl, line 2" in remark for remark in found.remarks)
    assert "samples/odd.jsonl contains nothing that can be drawn" in found.remarks
    assert "Not sampled in this trial: discovery, gossip" in found.remarks


_value = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers()),
)  # fmt: skip
_rows = st.lists(
    st.dictionaries(
        st.sampled_from(
            ["t", "until", "node", "network", "name", "via", "addresses", "error", "state", "task",
             "service", "rss", "outcome", "source", "target", "ended", "serving", "pattern"]
        ),
        _value,
    ),
    max_size=6,
)  # fmt: skip


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["discovery", "containers", "tasks", "memory", "reachability", "dockerd_logs", "gelf",
             "gossip", "api", "anything"]
        ),
        _rows,
    )
)  # fmt: skip
def test_whatever_rows_hold_lanes_come_of_them(
    tmp_path_factory: pytest.TempPathFactory, files: Any
) -> None:
    folder = tmp_path_factory.mktemp("trial")
    (folder / "samples").mkdir()
    for name, rows in files.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "samples" / f"{name}.jsonl").write_text(text)
    found = read_tracks(folder, end=10.0)
    describe_tracks(found.tracks)
    assert all(not track.empty for track in found.tracks)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.one_of(st.none(), st.floats(0, 1e9)))))
def test_thinning_keeps_the_extremes(points: Any) -> None:
    kept = thinned(points, most=10)
    assert len(kept) <= 12
    assert set(kept) <= set(points)
    values = [v for _, v in points if v is not None]
    if values:
        left = [v for _, v in kept if v is not None]
        assert (min(left), max(left)) == (min(values), max(values))


@given(*(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6) for _ in "ab"))
def test_what_is_left_of_intervals_is_neither_lost_nor_made_up(raw: Any, holes: Any) -> None:
    def points(intervals: Any) -> Any:
        return {n + 0.5 for a, b in intervals for n in range(int(a), int(b))}

    assert points(_without(raw, holes)) == points(raw) - points(holes)
