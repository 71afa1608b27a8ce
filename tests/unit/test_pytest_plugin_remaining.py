"""How many trials are left: counted down, weighed by how long they took, at this session's pace."""

from __future__ import annotations

from pathlib import Path

from stored_runs import given, store_trial

from harness.pytest_plugin.remaining import Remaining, usual_seconds
from harness.results import RunWriter

SHORT = "scenarios/test_x.py::test_short[26.1.5-s1]"
LONG = "scenarios/test_x.py::test_long[26.1.5-s1-dockerd]"
NEW = "scenarios/test_x.py::test_new[26.1.5-s1]"
USUAL = {"scenarios/test_x.py::test_short": 10.0, "scenarios/test_x.py::test_long": 90.0}


def said_after(*finished: str, seconds: float) -> list[str]:
    lines: list[str] = []
    moments = iter([0.0, *[seconds] * 9])
    remaining = Remaining(lines.append, USUAL, lambda: next(moments))
    for worker in (1, 2):
        ids = [SHORT, LONG, NEW, "tests/test_y.py::test_of_no_swarm", "t.py::test_z[a-1]"]
        remaining.pytest_xdist_node_collection_finished(worker, ids)
    for node_id in finished:
        remaining.pytest_runtest_logfinish(node_id)
    return lines


def test_what_is_left_takes_as_long_as_it_did_last_time_at_this_pace() -> None:
    # 10 of 150 units took 20 s: 140 are left. An unknown one is worth the average, 50.
    assert said_after(SHORT, seconds=20) == ["1 of 3 trials done, about 4 min left"]
    assert said_after(LONG, seconds=90) == ["1 of 3 trials done, about 1 min left"]


def test_the_last_one_says_nothing_and_a_stranger_counts_for_nothing() -> None:
    assert len(said_after(SHORT, "else", SHORT, LONG, NEW, seconds=20)) == 2


def test_the_latest_run_says_how_long_trials_take(tmp_path: Path) -> None:
    assert usual_seconds(tmp_path) == {}
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    store_trial(writer, given(scenario=LONG), {"gap": 1.0})
    assert list(usual_seconds(tmp_path)) == ["scenarios/test_x.py::test_long"]
