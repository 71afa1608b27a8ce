"""What the pictures show, worked out from journal and samples; and numbers in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optionals import not_none

from harness.report.events import events_of
from harness.report.formatting import (
    bound_of,
    describe_leaders,
    describe_members,
    duration,
    share,
    value_of,
    wall_time,
)
from harness.report.jinja_env import gauge_of, upstream_url
from harness.report.latency_heatmap import latency_heatmap
from harness.report.logs import LogProblem, log_problems
from harness.report.sanitize import plain
from harness.report.timeline_data import (
    OUTCOMES,
    Request,
    Span,
    percentile,
    read_requests,
    timeline_of,
)
from harness.trial import Bound, Measure, number_text


def entry(t: float, kind: str, **facts: Any) -> dict[str, Any]:
    return {"t": t, "kind": kind, **facts}


def test_a_fault_lasts_from_its_injection_until_it_is_seen_healed() -> None:
    timeline = timeline_of(
        [
            entry(1.0, "fault.inject", id="a", fault="kill", target="m1"),
            entry(1.1, "fault.evidence", id="a", proof="gone"),
            entry(2.0, "fault.inject", id="b", fault="cut", target=["m2", "m3"]),
            entry(3.0, "fault.heal", id="a"),
            entry(3.5, "fault.healed", id="a", proof="back"),
        ],
        [],
        seconds=10,
    )
    first, second = timeline.faults
    assert (first.start, first.end, first.proven, first.healed) == (1.0, 3.5, 1.1, True)
    assert (second.start, second.end, second.proven, second.healed) == (2.0, 10, None, False)
    assert second.label == "cut: m2, m3"


def test_leaders_follow_each_other_and_a_repeated_sighting_is_no_change() -> None:
    timeline = timeline_of(
        [
            entry(1.0, "swarm.formed", managers=["m1", "m2"], workers=["w1"], leader="m1"),
            entry(1.5, "leader", leader="m1", by="m2"),
            entry(4.0, "leader", leader=None, by="m2"),
            entry(9.0, "leader", leader="m2", by="m2"),
        ],
        [],
        seconds=12,
    )
    assert timeline.leaders == (Span(1.0, 4.0, "m1"), Span(4.0, 9.0, ""), Span(9.0, 12, "m2"))
    assert describe_leaders(timeline) == (
        "m1 leads from 1.0 s, there is no leader from 4.0 s for 5 s, then m2 leads from 9.0 s."
    )


def test_a_dead_leader_that_is_still_named_one_is_not_said_to_lead() -> None:
    timeline = timeline_of(
        [
            entry(1.0, "swarm.formed", managers=["m1", "m3"], workers=[], leader="m1"),
            entry(4.0, "fault.inject", id="a", fault="kill", target="m1"),
            entry(4.1, "fault.evidence", id="a", proof="gone"),
            entry(9.2, "leader", leader="m3", by="m3", at=9.0),
            entry(11.0, "fault.healed", id="a", proof="back"),
        ],
        [],
        seconds=12,
    )
    assert timeline.leaders == (
        Span(1.0, 4.0, "m1"), Span(4.0, 9.0, "m1", under_fault=True), Span(9.0, 12, "m3"),
    )  # fmt: skip
    assert "m1 is still listed as leader, under a fault, from 4.0 s for 5 s" in describe_leaders(
        timeline
    )


def test_a_fault_without_evidence_takes_no_leader_away() -> None:
    timeline = timeline_of(
        [
            entry(1.0, "leader", leader="m1"),
            entry(4.0, "fault.inject", id="a", fault="kill", target="m1"),
        ],
        [],
        seconds=12,
    )
    assert timeline.leaders == (Span(1.0, 12, "m1"),)


def test_nothing_is_said_of_members_that_nobody_watched() -> None:
    formed = entry(1.0, "swarm.formed", managers=["m1"], workers=[], leader="m1")
    down = entry(2.0, "node.state", node="m1", state="down")
    assert "not observed" in describe_members(timeline_of([formed], [], seconds=3))
    assert "m1 is down" in describe_members(timeline_of([formed, down], [], seconds=3))


def test_members_are_listed_managers_first_with_their_states() -> None:
    timeline = timeline_of(
        [
            entry(1.0, "swarm.formed", managers=["m2", "m1"], workers=["a1"], leader="m1"),
            entry(5.0, "node.state", node="m1", state="down", by="m2"),
            entry(6.0, "node.state", node="m1", state="down", by="a1"),
            entry(8.0, "node.state", node="m1", state="ready", by="m2"),
        ],
        [],
        seconds=10,
    )
    assert list(timeline.members) == ["m1", "m2", "a1"]
    assert [(s.start, s.end, s.label) for s in timeline.members["m1"]] == [
        (1.0, 5.0, "ready"), (5.0, 8.0, "down"), (8.0, 10, "ready"),
    ]  # fmt: skip


def test_bins_have_an_edge_at_the_first_fault() -> None:
    requests = [Request(0.5 + n / 10, 0.01, "ok" if n < 25 else "5xx") for n in range(50)]
    timeline = timeline_of(
        [entry(2.95, "fault.inject", id="a", fault="kill", target="m1")], requests, seconds=6
    )
    mixed = [b for b in timeline.bins if b.counts.get("ok") and b.counts.get("5xx")]
    assert mixed == []
    assert 2.95 in [b.start for b in timeline.bins]


def test_a_second_in_which_nothing_was_sent_is_a_bin_too() -> None:
    timeline = timeline_of([], [Request(0.1, 1, "ok"), Request(3.1, 1, "ok")], seconds=4)
    assert [sum(b.counts.values()) for b in timeline.bins] == [1, 0, 0, 1]
    assert timeline.bins[1].p50 is None


def test_the_axis_begins_shortly_before_the_load() -> None:
    timeline = timeline_of([entry(40.0, "load.start")], [Request(40.2, 1, "ok")], seconds=60)
    assert timeline.start == 37


def test_without_load_it_begins_before_the_first_fault_or_when_the_swarm_was_formed() -> None:
    formed = entry(25.0, "swarm.formed", leader="m1")
    fault = entry(80.0, "fault.inject", id="a", fault="x")
    assert timeline_of([formed, fault], [], seconds=120).start == 77
    assert timeline_of([formed], [], seconds=120).start == 22
    assert timeline_of([], [], seconds=120).start == 0


moments = st.floats(0, 5000, allow_nan=False)


@given(
    st.lists(st.tuples(moments, st.floats(0, 60), st.sampled_from(OUTCOMES)), max_size=60),
    st.none() | moments,
)
def test_every_request_is_in_exactly_one_bin(
    raw: Sequence[tuple[float, float, str]], fault: float | None
) -> None:
    requests, strange = read_requests([{"t": t, "took": d, "outcome": o} for t, d, o in raw])
    entries = [] if fault is None else [entry(fault, "fault.inject", id="a", fault="x")]
    timeline = timeline_of(entries, requests, seconds=1)
    assert strange == 0
    assert sum(sum(b.counts.values()) for b in timeline.bins) == len(raw)
    assert len(timeline.bins) <= 153
    assert all(timeline.start <= r.t <= timeline.end for r in requests)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_has_its_share_at_or_below_it(values: Sequence[float], wanted: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, wanted)
    assert found in ordered
    assert sum(v <= found for v in ordered) >= math.ceil(wanted * len(ordered))


def test_rows_that_are_no_requests_are_counted() -> None:
    rows = [{"t": 2, "took": 1, "outcome": "ok"}, {"t": 1, "took": 1, "outcome": "new"}, {}]
    requests, strange = read_requests(rows)
    assert [r.t for r in requests] == [2]
    assert strange == 2


@pytest.mark.parametrize(("value", "said"), [
    (0.0000123, "12.3 µs"), (0.00123, "1.23 ms"), (0.9994, "999 ms"), (0.9996, "1 s"),
    (12.345, "12.3 s"), (74.2, "74.2 s"), (1234.5, "1,234 s"),
])  # fmt: skip
def test_durations(value: float, said: str) -> None:
    assert duration(value) == said


@pytest.mark.parametrize(("part", "whole", "said"), [
    (0, 10, "0 %"), (10, 10, "100 %"), (1, 100_000, "less than 0.1 %"),
    (99_999, 100_000, "more than 99.9 %"), (1, 8, "12.5 %"), (0, 0, "0 %"),
])  # fmt: skip
def test_a_little_is_not_nothing_and_nearly_all_not_all(part: int, whole: int, said: str) -> None:
    assert share(part, whole) == said


@pytest.mark.parametrize(("measure", "value", "bound"), [
    (Measure("a", 9.81234, "s", bound=Bound("below", 20)), "9.812 s", "at most 20 s"),
    (Measure("a", 0.01234, "1", bound=Bound("below", 0.05)), "1.234 %", "at most 5 %"),
    (Measure("a", 3, "1", bound=Bound("equals", 4)), "3", "exactly 4"),
    (Measure("a", 40, "s", censored=True), "more than 40 s", ""),
    (Measure("a", None, "s", bound=Bound("above", 1)), "not measured", "at least 1 s"),
])  # fmt: skip
def test_measures_in_words(measure: Measure, value: str, bound: str) -> None:
    assert (value_of(measure), bound_of(measure)) == (value, bound)


@given(st.floats(-1e12, 1e12))
def test_a_number_in_words_is_that_number(value: float) -> None:
    assert float(number_text(value).replace(",", "")) == pytest.approx(value, rel=6e-4)


@given(st.text())
def test_plain_text_can_be_shown_anywhere(text: str) -> None:
    shown = plain(text)
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    shown.encode()
    assert len(plain(text, 5)) <= 5


def test_wall_times_and_what_is_none() -> None:
    assert wall_time("2026-11-23T00:45:00+00:00") == "23 November 2026, 00:45:00 UTC"
    assert wall_time("yesterday") == "yesterday"


@pytest.mark.parametrize("measure", [
    Measure("a", None, "s", bound=Bound("below", 1)),
    Measure("a", 1, "s"),
    Measure("a", 1, "1", bound=Bound("equals", 1)),
    Measure("a", -1, "s", bound=Bound("below", 1)),
])  # fmt: skip
def test_no_gauge_where_it_would_say_nothing(measure: Measure) -> None:
    assert gauge_of(measure) is None


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_gauge_stays_within_its_length_and_shows_what_is_beyond(
    value: float, limit: float
) -> None:
    gauge = gauge_of(Measure("a", value, "s", bound=Bound("below", limit)))
    assert 0 <= not_none(gauge).fill <= 1
    assert 0 <= not_none(gauge).limit <= 1
    if value > limit * 1.001:
        assert not_none(gauge).fill > not_none(gauge).limit


def test_upstream_references() -> None:
    assert upstream_url("moby/moby#32841") == "https://github.com/moby/moby/issues/32841"
    assert upstream_url("javascript:alert(1)//a/b#1") == ""


def test_complaints_are_gathered_by_node_and_message(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    logs.joinpath("m1.log").write_bytes(
        b'time="2026-11-23T00:45:31.123456789Z" level=warning msg="a \\"b\\" c" error="d e"\n'
        b'time="2026-11-23T00:45:32.1Z" level=info msg="level=error is no error"\n'
        b'time="2026-11-23T00:45:33Z" level=warning msg="a \\"b\\" c" error="d e"\n'
        b"\xff\xfe level=error msg=bare\n"
        b"panic: runtime error: index out of range\n"
        b"goroutine 1 [running]:\n"
    )
    found = [(c.node, c.level, c.text, c.clock, c.times) for c in log_problems(tmp_path)]
    assert found == [
        ("m1", "warning", 'a "b" c (d e)', "00:45:31.123", 2),
        ("m1", "error", "bare", "", 1),
        ("m1", "panic", "panic: runtime error: index out of range", "", 1),
    ]
    assert log_problems(tmp_path / "nowhere") == ()


def test_events_in_words() -> None:
    told = [
        e.text
        for e in events_of(
            [
                entry(0, "trial.start", inputs={"seed": 1}, wall=1.0),
                entry(1, "lab.ready", nodes={"m1": {"address": "198.18.0.11"}, "m2": None}),
                entry(1, "leader", leader=None, by="m2"),
                entry(1, "node.state", node="m1", state="down", by="m2"),
                entry(1, "fault.inject", id="f", target="m1", signals=["a", "b"], env={"x": 1}),
            ]
        )[0]
    ]
    assert told == [
        "with the inputs above",
        "m1: 198.18.0.11; m2: null",
        "no leader (seen by m2)",
        "m1 is down (seen by m2)",
        "id: f, target: m1, signals: a b, env: x=1",
    ]


def test_what_dockerd_logs_while_it_starts_is_one_line(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    stamp = 'time="2026-11-23T00:45:0'
    logs.joinpath("m1.log").write_text(
        f'{stamp}1Z" level=info msg="Starting up"\n'
        f'{stamp}2Z" level=warning msg="bridge-nf-call-iptables is disabled"\n'
        f'{stamp}3Z" level=error msg="failed to load cni during init"\n'
        f'{stamp}4Z" level=fatal msg="no space left"\n'
        f'{stamp}5Z" level=info msg="Daemon has completed initialization"\n'
        f'{stamp}6Z" level=error msg="raft: lost leader"\n'
    )
    assert [(c.level, c.text, c.clock, c.times) for c in log_problems(tmp_path)] == [
        ("start", "messages while dockerd started: logs/m1.log", "00:45:02", 2),
        ("fatal", "no space left", "00:45:04", 1),
        ("error", "raft: lost leader", "00:45:06", 1),
    ]


def test_equal_complaints_far_apart_are_two(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    logs.joinpath("m1.log").write_text(
        "".join(f'time="2026-11-23T00:45:{s}Z" level=error msg=x\n' for s in ("01", "09", "59"))
    )
    assert [(c.clock, c.times) for c in log_problems(tmp_path)] == [
        ("00:45:01", 2),
        ("00:45:59", 1),
    ]


def test_logs_take_their_place_among_the_events() -> None:
    wall = datetime(2026, 11, 23, 0, 45, tzinfo=UTC).timestamp()
    said = LogProblem("m1", "error", "x", "00:45:01", wall + 1.0, wall + 1.0)
    stray = LogProblem("m1", "panic", "y", "")
    journal = [entry(0, "trial.start", inputs={}, wall=wall), entry(2, "note", text="later")]
    events, left = events_of(journal, [stray, said])
    assert [(e.at, e.source, e.clock) for e in events] == [
        (0.0, "journal", ""), (1.0, "m1", ""), (2.0, "journal", ""), (None, "m1", ""),
    ]  # fmt: skip
    assert left == 0
    old, _ = events_of([entry(0, "trial.start", inputs={})], [said])
    assert [(e.at, e.clock) for e in old] == [(0.0, ""), (None, "00:45:01")]


@given(
    st.lists(st.tuples(st.floats(0, 60), st.floats(1e-6, 30)), min_size=1, max_size=60),
    st.sampled_from([0.5, 1.0, 5.0]),
)
def test_the_heat_counts_every_request_once(
    raw: Sequence[tuple[float, float]], width: float
) -> None:
    requests = sorted((Request(t, took, "ok") for t, took in raw), key=lambda r: r.t)
    first = requests[0].t
    slices = math.floor((requests[-1].t - first) / width + 1e-9) + 1
    heat = latency_heatmap(requests, [first + n * width for n in range(slices)], width)
    assert sum(map(sum, heat.counts)) == len(requests)
    assert len(heat.lengths) == len(heat.counts) + 1
    assert heat.lengths[0] <= max(min(r.took for r in requests), 1e-5) * 1.001
    assert max(r.took for r in requests) <= heat.lengths[-1] * 1.001
