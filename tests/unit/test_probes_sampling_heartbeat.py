"""What was not looked at cannot be judged: holes in the harness's own time, and in samples."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial
from hypothesis import given
from hypothesis import strategies as st
from optionals import not_none

from harness.probes.sampling.heartbeat import (
    EVERY,
    MOST,
    NOTICED,
    Cadence,
    Heartbeat,
    MachineLoad,
    may_hide,
)
from harness.trial import Bound, Measure, Trial, read_lines

SECONDS = st.floats(0, 1e4).map(lambda number: round(number, 3))


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = bare_trial(tmp_path / "trial")
    yield made
    made.journal.close()


class JumpingClock:
    """Time that passes by ``jumps``, a beat's length where none is given; then the heart stops."""

    def __init__(self, *jumps: float) -> None:
        self.at = 1000.0
        self.jumps = list(jumps)
        self.stop: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += self.jumps.pop(0)
        if not self.jumps:
            self.stop()


def beaten(trial: Trial, *jumps: float) -> Heartbeat:
    """Return a heart that has beaten, between these readings of its clock."""
    clock = JumpingClock(*jumps)
    heart = Heartbeat(trial, now=clock.now, sleep=clock.sleep)
    clock.stop = heart._stop.set
    with heart:
        heart._stop.wait(10)
    return heart


def measured(value: float, limit: float, unit: str = "s", op: Any = "below") -> Measure:
    bound = Bound(op, limit)
    return Measure("downtime", value, unit, bound=bound, ok=bound.holds(value))


def test_a_heart_that_beats_in_time_doubts_nothing(trial: Trial) -> None:
    heart = beaten(trial, *[EVERY] * 20, EVERY + 0.9 * NOTICED)
    assert heart.holes == []
    assert heart.doubts([measured(9.9, 10)]) == []
    rows = [json.loads(line) for line in trial.samples("harness").read_text().splitlines()]
    assert len(rows) >= 4
    assert set(rows[0]) == {"t", "late_s", "steal_share", "run_queue"}


def test_a_suspended_machine_is_a_doubt_whatever_was_measured(trial: Trial) -> None:
    heart = beaten(trial, EVERY, 60 + EVERY, EVERY)
    [doubt] = heart.doubts([measured(0, 1000, "requests")])
    assert "stood still for 60.0 s" in doubt
    trial.journal.close()
    [hole] = [row for row in read_lines(trial.folder / "journal.jsonl") if "hole" in row["kind"]]
    assert hole["seconds"] == 60.0


@pytest.mark.parametrize(
    ("measure", "doubted"),
    [
        (measured(2, 10), False),
        (measured(7.5, 10), True),  # an outage may have been as much longer
        (measured(12.5, 10), True),  # a wait may have been the hole
        (measured(20, 10), False),
        (measured(4.5, 2, op="above"), True),
        (measured(9.9, 10, "requests"), False),
        (Measure("seen", 9.9, "s"), False),
    ],
)
def test_a_short_hole_is_one_where_it_could_turn_an_answer(
    trial: Trial, measure: Measure, doubted: bool
) -> None:
    heart = beaten(trial, EVERY, 1.5 + EVERY, EVERY, 1.5 + EVERY, EVERY)
    assert [round(hole.seconds, 3) for hole in heart.holes] == [1.5, 1.5]
    said = heart.doubts([measured(0, 1000), measure])
    assert bool(said) is doubted
    assert not said or "could have changed downtime" in said[0]


@given(value=SECONDS, limit=SECONDS, hole=SECONDS, op=st.sampled_from(["below", "above", "equals"]))
def test_no_answer_that_is_kept_would_have_been_another(
    value: float, limit: float, hole: float, op: str
) -> None:
    measure = measured(value, limit, op=op)
    if not may_hide(measure, hole):
        assert measure.bound
        for share in (-1, -0.5, 0, 0.5, 1):
            assert measure.bound.holds(value + share * hole) == measure.ok


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=30))
def test_a_sampler_doubts_a_round_that_came_too_late(gaps: list[float]) -> None:
    at = 0.0
    cadence = Cadence("the probe", 0.25, lambda: at)
    cadence.beat()
    for gap in gaps:
        at += gap
        cadence.beat()
    assert bool(list(cadence.doubts())) == (max(gaps) > 0.25 + MOST + 1e-9)


def test_stolen_time_is_a_share_of_all_time(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 0 0 0 50 10 0\ncpu0 1 2 3\n")
    load = MachineLoad(stat)
    stat.write_text("cpu  130 0 60 840 0 0 0 70 40 0\ncpu0 1 2 3\n")
    assert load.steal() == 0.2
    stat.write_text("nonsense")
    assert MachineLoad(stat).steal() == 0


STOPPED = """
import os, subprocess, time

def test_x(lab, measure):
    began = time.monotonic()
    pid = os.getpid()
    time.sleep(0.3)
    subprocess.run(["sh", "-c", f"kill -STOP {{pid}}; sleep 1.6; kill -CONT {{pid}}"])
    measure(Expectation('downtime', unit='s', at_most={limit}), time.monotonic() - began)
"""


@pytest.mark.parametrize(("limit", "verdict"), [(1, "unknown"), (2.5, "unknown"), (60, "pass")])
def test_a_harness_that_was_stopped_does_not_judge(
    scenario: Callable[..., Any], limit: float, verdict: str
) -> None:
    ran = scenario(STOPPED.format(limit=limit))
    [record] = ran.records()
    assert record["verdict"] == verdict, record
    if verdict == "unknown":
        # 1.6 s, less what was left of a beat's 0.25; more where the `sleep` is started late.
        said = re.search(r"the harness stood still for (\d+\.\d) s", record["reason"])
        assert float(not_none(said)[1]) >= 1.3
        assert ran.code == 2
