"""Loads that cannot be meant are refused before anything is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness.errors import LoadError, UsageError
from harness.load import Connections, Load
from harness.load.plan import Plan
from harness.load.timetable import Stage, Timetable
from harness.trial import EngineFacts, Trial, TrialInputs


class Nowhere:
    def run_module(self, module: str, **kwargs: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied")


class Target:
    def __init__(self, entries: dict[str, str] | None = None, path: str = "/") -> None:
        self.entries = {"m1": "http://198.18.0.11:8080"} if entries is None else entries
        self.path = path


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    engine = EngineFacts(name="none", version="0", source="", digest="")
    made = Trial(
        tmp_path / "trial",
        TrialInputs(
            scenario="s", engine=engine, topology="", lab="", kernel="", clock="real", seed=1
        ),
    )
    yield made
    made.journal.close()


@pytest.mark.parametrize(
    "asked",
    [
        {"users": 0},
        {"users": -1},
        {"per_user": 0},
        {"per_user": 1000},
        {"per_user": float("nan")},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"shape": []},
        {"shape": [(0, 5)]},
        {"shape": [(10, 0)]},
        {"shape": [(10, -2), (10, 5)]},
        {"path": "no-slash"},
        {"path": "/a b"},
        {"path": "/a\r\nX-Smuggled: 1"},
    ],
)
def test_what_cannot_be_meant_is_refused(trial: Trial, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Load(Nowhere(), trial).http(Target(), **asked)


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"m1": "https://198.18.0.11"},
        {"m1": "198.18.0.11:8080"},
        {"m1": "http://"},
        {"m1": "http://198.18.0.11:99999"},
        {"m1": "http://[::1"},
        {"m1": "http://198.18.0.11/?a=b"},
    ],
)
def test_a_target_that_cannot_be_asked_is_refused(trial: Trial, entries: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Load(Nowhere(), trial).http(Target(entries))


def test_the_path_is_the_targets_unless_another_is_said(trial: Trial) -> None:
    with pytest.raises(UsageError):
        Load(Nowhere(), trial).http(Target(path="bad"))
    Load(Nowhere(), trial).http(Target(path="bad"), path="/good")


def test_a_site_that_starts_nothing_is_trouble_of_the_loads(trial: Trial) -> None:
    traffic = Load(Nowhere(), trial).http(Target())
    with pytest.raises(LoadError, match="Permission denied"):
        traffic.__enter__()
    assert traffic.count == 0
    assert traffic.share_of_50x is None


def test_an_unknown_entry_is_a_mistake_and_not_a_short_gap(trial: Trial) -> None:
    traffic = Load(Nowhere(), trial).http(Target())
    assert traffic.longest_gap("m1") is None
    with pytest.raises(UsageError, match="'m7' is not an entry"):
        traffic.longest_gap("m7")


def plan_of(
    users: int, *, per_user: float = 1.0, connections: tuple[Connections, ...] = ("kept", "new")
) -> Plan:
    return Plan(
        load=1,
        origin=0,
        timetable=Timetable((Stage(1, users),), per_user),
        entries=(("m1", "http://a"), ("w1", "http://b")),
        connections=connections,
        path="/",
        timeout=1,
        requests="",
        events="",
    )


def test_users_are_given_to_entries_in_turn() -> None:
    plan = plan_of(5, connections=("kept",))
    assert [plan.entry_of(user)[0] for user in range(4)] == ["m1", "w1", "m1", "w1"]
    assert plan.users_per_entry() == {"m1": 3, "w1": 2}
    assert {plan.connections_of(user) for user in range(5)} == {"kept"}


def test_each_entry_is_asked_over_both_kinds_of_connections_as_often() -> None:
    plan = plan_of(8)
    asked = Counter((plan.entry_of(user)[0], plan.connections_of(user)) for user in range(8))
    assert asked == dict.fromkeys(product(("m1", "w1"), ("kept", "new")), 2)


@pytest.mark.parametrize(
    ("users", "per_user", "resolution"),
    [(4, 1.0, 1.0), (8, 1.0, 0.5), (8, 4.0, 0.125), (16, 0.5, 0.5), (6, 1.0, 1.0)],
)
def test_the_resolution_is_the_time_between_two_requests_of_a_kind_at_an_entry(
    users: int, per_user: float, resolution: float
) -> None:
    assert plan_of(users, per_user=per_user).resolution() == pytest.approx(resolution)


@pytest.mark.parametrize("connections", ["both", "new", "kept"])
def test_users_are_enough_for_every_entry_and_kind(trial: Trial, connections: Any) -> None:
    target = Target({"m1": "http://198.18.0.11", "m2": "http://198.18.0.12"})
    needed = 4 if connections == "both" else 2
    load = Load(Nowhere(), trial)
    load.http(target, users=needed, connections=connections)
    with pytest.raises(UsageError, match="cannot ask 2 entry nodes") as refused:
        load.http(target, users=needed - 1, connections=connections)
    assert f"at least {needed} users" in str(refused.value.hint)


def test_two_users_of_each_kind_ask_each_entry_unless_others_are_said(trial: Trial) -> None:
    traffic = Load(Nowhere(), trial).http(Target({f"m{n}": f"http://h{n}" for n in range(7)}))
    assert traffic.resolution == 0.5


def test_an_unknown_way_to_connect_is_refused(trial: Trial) -> None:
    with pytest.raises(UsageError, match="'keep' is not a way to connect"):
        Load(Nowhere(), trial).http(Target(), connections="keep")  # type: ignore[arg-type]
