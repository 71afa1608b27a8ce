"""How many tasks were missing, and for how long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.lab import Topology
from harness.load import Request
from harness.probes.containers import Life
from harness.pytest_plugin.battery import EXPERIMENTS, Away, Shortfall, read_question
from harness.pytest_plugin.battery.experiments import break_spec, not_applicable
from harness.swarm import APP_IMAGE, LogDriver, Service, Workload


def life(started: float, ended: float | None = None) -> Life:
    return Life("c", "w1", "shop_app", "1", "t", started=started, ended=ended)


def test_what_is_missing_is_counted_with_its_time() -> None:
    lives = [life(-1), life(-1, 10), life(-1, 12), life(15), life(18)]
    assert Shortfall.of(lives, 3, since=0, until=30) == Shortfall(2, 8.0)
    assert Shortfall.of(lives, 3, since=20, until=30) == Shortfall(0, 0.0)
    assert Shortfall.of([], 2, since=0, until=5) == Shortfall(2, 5.0)


def milliseconds(least: int, most: int) -> st.SearchStrategy[float]:
    """Seconds; what is shorter than floats can tell from nothing is no shortfall."""
    return st.integers(least * 1000, most * 1000).map(lambda each: each / 1000)


@given(
    st.lists(st.tuples(milliseconds(-5, 20), milliseconds(0, 20)), max_size=6),
    st.integers(0, 5),
)
def test_a_shortfall_stays_within_its_window(spans: list[tuple[float, float]], wanted: int) -> None:
    found = Shortfall.of(
        [life(begun, begun + took) for begun, took in spans], wanted, since=0, until=10
    )
    assert 0 <= found.most <= wanted
    assert 0 <= found.seconds <= 10
    assert (found.most == 0) == (found.seconds == 0)


def test_requests_count_unless_their_node_was_away() -> None:
    away = Away("w1", 5, 9)
    request = Request(
        t=6, took=0.1, code=200, outcome="ok", entry="w1", task="", node="", due=6, user=0, load=1
    )
    assert away.concerns(request)
    assert not Away("w2", 5).concerns(request)
    assert not Away("w1", 7).concerns(request)


def test_every_experiment_completes_a_sentence_and_starts_with_the_stack_alone() -> None:
    assert next(iter(EXPERIMENTS)) == "nothing"
    assert all(each.title[0].islower() and each.title[-1] != "." for each in EXPERIMENTS.values())


def test_an_experiment_that_cannot_apply_says_why() -> None:
    app = Service("app", APP_IMAGE, ())
    plain = Workload("shop", (), (app,))
    said = not_applicable(plain, Topology(3, 2), next_engine="28.5.2")
    assert list(said) == ["log-collector-gone"]
    logging = Service("app", APP_IMAGE, (), log=LogDriver("gelf"))
    assert not not_applicable(
        Workload("shop", (), (logging,)), Topology(3, 2), next_engine="28.5.2"
    )
    with pytest.raises(UsageError, match="no node to lose"):
        not_applicable(plain, Topology(1), next_engine=None)


def test_a_question_that_was_changed_by_hand_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "asked.json"
    path.write_text(json.dumps({"name": "shop"}))
    with pytest.raises(UsageError, match="swarm-chaos try"):
        read_question(path)


def test_a_bad_update_keeps_to_the_pace_of_the_file() -> None:
    """Else all tasks would go at once, and the experiment would cost what no update costs."""
    plain: dict[str, Any] = {"TaskTemplate": {"ContainerSpec": {}}}
    break_spec(plain, {})
    assert plain["UpdateConfig"] == {"Parallelism": 1, "FailureAction": "rollback"}
    own: dict[str, Any] = {
        "TaskTemplate": {"ContainerSpec": {}},
        "UpdateConfig": {"Parallelism": 2, "FailureAction": "pause", "Order": "start-first"},
    }
    break_spec(own, {"FailureAction": "continue", "Order": "stop-first"})
    assert own["UpdateConfig"] == {
        "Parallelism": 2,
        "FailureAction": "continue",
        "Order": "stop-first",
    }


def test_a_node_is_away_for_longer_than_it_takes_to_give_it_up() -> None:
    away = ("leader-node-killed", "leader-dockerd-killed", "worker-lost", "worker-cut-off")
    assert all(EXPERIMENTS[name].lasts > 33 for name in (*away, "registry-gone"))
    assert EXPERIMENTS["nothing"].lasts < 33
