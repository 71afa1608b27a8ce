"""Schedules: read, drawn, printed, saved, replayed, refused, and carried out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faults_model import KINDS, ModelNode, open_trial
from hypothesis import given, settings
from hypothesis import strategies as st
from optionals import not_none

from harness.errors import FaultError, UsageError
from harness.faults import Faults, catalogue
from harness.faults.schedule import Injection, Plan, ScheduleRun, read_schedule
from harness.faults.schedule.plan import ByTarget, contradict
from harness.trial import Trial, read_lines
from harness.wait import NotYet, wait_for


@pytest.fixture(autouse=True)
def _model_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "catalogue", lambda: KINDS)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Plan]:
    """Reads the text of a schedule, as TOML unless it begins as JSON does."""

    def read(text: str, seed: int = 1) -> Plan:
        path = tmp_path / ("schedule.json" if text.startswith("{") else "schedule.toml")
        path.write_text(text)
        return read_schedule(path, seed)

    return read


REPEATED = """
[[fault]]
at = "1m"
for = "20s"
fault = "power-cut"
target = "w1"

[[fault]]
at = "10s"
for = "5s"
every = "10s"
times = 3
fault = "shaped"
target = "leader"
with = {loss = "30%"}
"""

DRAWN = """
[[random]]
from = "10s"
until = "10m"
every = "5s"
at_once = 2
choose = [
    {fault = "shaped", target = "m1", for = ["1s", "20s"], weight = 3},
    {fault = "delayed", target = "m1", for = ["1s", "20s"]},
    {fault = "filled", target = "w1", for = ["2s", "2s"]},
]
"""


def test_a_plan_is_in_order_and_repeated(read: Callable[..., Plan]) -> None:
    plan = read(REPEATED)
    assert [(one.at, one.lasts, one.fault) for one in plan] == [
        (10, 5, "shaped"),
        (20, 5, "shaped"),
        (30, 5, "shaped"),
        (60, 20, "power-cut"),
    ]
    assert plan.end == 80
    assert " ".join(plan.lines()[0].split()) == "10.000 s shaped on leader loss=30% for 5s"


def test_the_seed_decides_what_is_drawn(read: Callable[..., Plan]) -> None:
    plan = read(DRAWN, seed=7)
    assert plan == read(DRAWN, seed=7)
    assert plan != read(DRAWN, seed=8)
    assert {one.fault for one in plan} == {"shaped", "delayed", "filled"}
    kinds = [one.fault for one in plan]
    assert kinds.count("shaped") > kinds.count("delayed")
    for one in plan:
        assert 10 <= not_none(one.at) < not_none(one.until) <= 600.001
        assert one.optional
        assert one.fault != "filled" or one.lasts == 2 or one.until == 600


def test_no_two_that_are_drawn_contradict_each_other(read: Callable[..., Plan]) -> None:
    for seed in range(20):
        plan = list(read(DRAWN, seed=seed))
        clashes = [(a, b) for a in plan for b in plan if a is not b and contradict(a, b)]
        assert clashes == []
        for one in plan:
            others = [other for other in plan if other is not one and other.overlaps(one)]
            assert sum(other.at <= one.at for other in others) < 2, "at most two at once"


def test_a_saved_plan_is_the_same_plan_whatever_the_seed(
    read: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = read(REPEATED + DRAWN, seed=3)
    plan.save(tmp_path / "saved.json")
    again = read_schedule(tmp_path / "saved.json", seed=99)
    assert again.lines() == plan.lines()
    assert again.facts() == plan.facts()


words = st.text(min_size=1).filter(str.strip)


@given(
    st.lists(
        st.builds(
            Injection,
            at=st.integers(0, 10**7).map(lambda ms: ms / 1000),
            fault=st.just("filled"),
            target=words,
            lasts=st.none() | st.integers(1, 10**7).map(lambda ms: ms / 1000),
            optional=st.booleans(),
        ),
        min_size=1,
        unique_by=lambda one: one.target,
    )
)
@settings(max_examples=50)
def test_any_plan_comes_back_from_its_file(
    tmp_path_factory: pytest.TempPathFactory, injections: Sequence[Injection]
) -> None:
    plan = Plan.of(injections)
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    plan.save(path)
    again = read_schedule(path, seed=1)
    assert again.facts() == plan.facts()
    assert [(o.at, o.lasts) for o in again] == [(o.at, o.lasts) for o in plan]


@given(
    st.lists(
        st.builds(
            Injection,
            at=st.integers(0, 20).map(float),
            fault=st.sampled_from(["filled", "shaped", "delayed"]),
            target=st.sampled_from(["m1", "w1"]),
            lasts=st.none() | st.integers(1, 9).map(float),
        ),
        max_size=12,
    )
)
def test_one_that_contradicts_is_found_as_by_looking_at_all(injections: list[Injection]) -> None:
    before = ByTarget()
    for number, injection in enumerate(injections):
        found = before.contradicting(injection)
        brute = [other for other in injections[:number] if contradict(other, injection)]
        assert (found in brute) if brute else found is None
        before.add(injection)


def test_ten_thousand_injections_are_a_plan_at_once(read: Callable[..., Plan]) -> None:
    began = time.process_time()
    plan = read(FAULT + 'every = "10s"\ntimes = 10000\nfor = "5s"')
    assert len(plan) == 10_000
    assert time.process_time() - began < 5  # each held against each other one took 25 s


FAULT = '[[fault]]\nat = "1s"\nfault = "shaped"\ntarget = "m1"\n'
RANDOM = (
    '[[random]]\nuntil = "1m"\nevery = "1s"\nchoose = [{fault = "filled", target = "m1", for = '
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no fault in it"),
        ("[[fault]\n", "is not valid TOML: .*line 1"),
        ("{\n", "is not valid JSON: .*line 2"),
        ("[[faults]]\n", "unknown field `faults`"),
        (FAULT + 'fr = "1s"', r"fault 1 \(line 1\): .*unknown field `fr`"),
        (FAULT + "\n" + FAULT.replace('"1s"', "1"), r"fault 2 \(line 6\): at: Expected `str`"),
        (FAULT.replace("1s", "1"), r"fault 1 \(line 1\): at: '1' is not a valid duration"),
        (FAULT.replace("1s", "-1s"), "at: '-1s' is not a valid duration"),
        (FAULT.replace("shaped", "shapd"), r"fault 1 \(line 1\): there is no fault 'shapd'"),
        (FAULT + 'with = {los = "1"}', "has no parameter los"),
        (
            FAULT + 'with = {loss = "120%"}',
            r"fault 1 \(line 1\): shaped: loss: '120%' is not a valid share",
        ),
        (FAULT + 'for = "0s"', "for: give a duration above 0 s"),
        (FAULT + "times = 2", "every needs times"),
        (FAULT + 'every = "10s"', "every needs times"),
        (FAULT + 'every = "10s"\ntimes = 2', "must end"),
        (FAULT + 'every = "10s"\ntimes = 2\nfor = "10s"', "must end"),
        (
            FAULT + 'every = "10s"\ntimes = 20000\nfor = "1s"',
            "times: 20000 is not valid: give 1 to 10000",
        ),
        (FAULT + FAULT.replace('"1s"', '"5s"'), "fault 2.*contradicts.*fault 1.*not healed"),
        (FAULT + FAULT.replace("shaped", "delayed"), "contradicts"),
        (RANDOM + '["5s", "1s"]}]', "random 1 .*choose 1: for: .*shortest, the longest"),
        (RANDOM + '["1s", "1s"], weight = -1}]', "weight: -1 is not 0 or more"),
        (RANDOM + '["1s", "1s"], weight = inf}]', "weight: inf is not 0 or more and finite"),
        (RANDOM + '["1s", "1s"], weight = nan}]', "weight: nan is not 0 or more and finite"),
        (RANDOM.replace('"1s"', '"1e300s"') + '["1s", "1s"]}]', "every: 1e300s is "),
        (RANDOM + '["1s", "1s"]}]\nat_once = 1000000', "at_once: give 1 to 100"),
        (RANDOM + '["1s", "1s"], weight = 0}]', "every weight is 0"),
        (RANDOM.replace("1s", "0s") + '["1s", "1s"]}]', "makes more than"),
        (RANDOM.replace("1m", "0s") + '["1s", "1s"]}]', "until must be after from"),
        (RANDOM + '["1s", "1s"]}]\nat_once = 0', "at_once"),
        (RANDOM.split("choose")[0] + "choose = []", "give at least one fault"),
        (RANDOM + '["1s"]}]', r"random 1 \(line 1\): choose\[0\].for: Expected"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(
    read: Callable[..., Plan], text: str, said: str
) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        read(text)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        read_schedule(tmp_path / "none.toml", 1)
    (tmp_path / "picture.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not a valid text file"):
        read_schedule(tmp_path / "picture.toml", 1)


# -- carrying it out -------------------------------------------------------------------------------


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    trial = open_trial(tmp_path / "trial")
    yield trial
    trial.journal.close()


@pytest.fixture
def nodes() -> dict[str, Any]:
    return {name: ModelNode(name) for name in ("m1", "w1")}


@pytest.fixture
def carry_out(trial: Trial, nodes: dict[str, Any]) -> Callable[..., Any]:
    """Makes a run of injections; "m1 w1" names both nodes."""
    targets: Any = SimpleNamespace(find=lambda _, words: [nodes[name] for name in words.split()])
    return lambda *injections: ScheduleRun(trial, Plan.of(injections), targets)


def told(trial: Trial) -> list[tuple[str, str]]:
    return [
        (e["kind"].removeprefix("fault."), e.get("id", ""))
        for e in read_lines(trial.journal.path)
        if e["kind"] in ("fault.evidence", "fault.healed", "note")
    ]


def test_faults_come_and_go_at_their_times(
    trial: Trial, nodes: dict[str, Any], carry_out: Callable[..., Any]
) -> None:
    before = [node.state for node in nodes.values()]
    done = carry_out(
        Injection(0.05, "filled", "m1", 0.10),
        Injection(0.10, "shaped", "m1 w1", 0.10, {"loss": "30%"}),
        Injection(0.0, "limited", "w1"),
    ).run()
    assert [len(one.faults) for one in done] == [1, 1, 2]
    assert told(trial) == [
        ("evidence", "limited-1"),
        ("evidence", "filled-2"),
        ("evidence", "shaped-3"),
        ("evidence", "shaped-4"),
        ("healed", "filled-2"),
        ("healed", "shaped-4"),
        ("healed", "shaped-3"),
        ("healed", "limited-1"),
    ]
    assert [node.state for node in nodes.values()] == before
    entries = list(read_lines(trial.journal.path))
    times = {e["id"]: e["t"] for e in entries if e["kind"] == "fault.inject"}
    assert entries[1]["kind"] == "schedule.start"
    assert times["filled-2"] - entries[1]["t"] >= 0.05
    assert times["shaped-3"] - entries[1]["t"] >= 0.1
    assert entries[-1]["kind"] == "schedule.end"
    saved = json.loads((trial.folder / "schedule.json").read_text())
    assert [entry["at"] for entry in saved["fault"]] == ["0s", "0.05s", "0.1s"]


def test_what_ends_makes_room_for_what_begins_at_that_moment(
    trial: Trial, carry_out: Callable[..., Any]
) -> None:
    done = carry_out(
        Injection(0.0, "shaped", "m1", 0.02), Injection(0.02, "delayed", "m1", 0.02)
    ).run()
    assert [len(one.faults) for one in done] == [1, 1]
    assert trial.doubts == []


def test_a_fault_that_fails_ends_the_schedule_and_all_is_healed(
    trial: Trial, nodes: dict[str, Any], carry_out: Callable[..., Any]
) -> None:
    before = [node.state for node in nodes.values()]
    run = carry_out(
        Injection(0.0, "filled", "m1"),
        Injection(0.0, "power-cut", "w1"),
        Injection(0.0, "shaped", "w1"),
        Injection(0.0, "limited", "m1"),
    )
    with pytest.raises(FaultError, match="w1 is off"):
        run.run()
    assert [node.state for node in nodes.values()] == before
    assert trial.active_faults.active == []
    assert [name for _, name in told(trial)] == [
        *("filled-1", "power-cut-2"),
        *("power-cut-2", "filled-1"),
    ]


def test_an_optional_one_is_left_out_when_it_cannot_be(
    trial: Trial, carry_out: Callable[..., Any]
) -> None:
    done = carry_out(
        Injection(0.0, "power-cut", "w1"),
        Injection(0.0, "shaped", "w1", optional=True),
        Injection(0.0, "limited", "m1"),
    ).run()
    assert [len(one.faults) for one in done] == [1, 0, 1]
    [note] = [e["text"] for e in read_lines(trial.journal.path) if e["kind"] == "note"]
    assert "left out: shaped on w1: w1 is off" in note
    assert trial.doubts == []


def test_it_runs_beside_a_block_and_ends_with_it(
    trial: Trial, nodes: dict[str, Any], carry_out: Callable[..., Any]
) -> None:
    before = [node.state for node in nodes.values()]
    began = time.monotonic()
    with carry_out(Injection(0.0, "filled", "m1", 60), Injection(30, "shaped", "m1", 1)) as run:
        while not run.done:
            time.sleep(0.005)
        assert nodes["m1"].files["ballast"] == 1
    assert time.monotonic() - began < 10
    assert [node.state for node in nodes.values()] == before
    assert len(run.done) == 1


def test_it_can_be_waited_for(trial: Trial, carry_out: Callable[..., Any]) -> None:
    with carry_out(Injection(0.0, "filled", "m1", 0.05)) as run:
        [done] = run.wait()
    assert not done.faults[0].active


def test_what_goes_wrong_beside_a_block_is_raised_at_its_end(
    trial: Trial, nodes: dict[str, Any], carry_out: Callable[..., Any]
) -> None:
    nodes["w1"].power_cut()

    def over() -> bool | NotYet:
        kinds = [entry["kind"] for entry in read_lines(trial.journal.path)]
        return "schedule.end" in kinds or NotYet(f"{kinds}")

    with pytest.raises(FaultError, match="w1 is off"), carry_out(Injection(0.0, "filled", "w1")):
        wait_for(over, state="the schedule to end by its error", within=20, every=0.01)
    with (
        pytest.raises(ValueError, match="first cause"),
        carry_out(Injection(0.0, "filled", "w1")),
    ):
        raise ValueError("first cause")


def test_the_fixture_draws_from_the_trials_seed(trial: Trial, tmp_path: Path) -> None:
    path = tmp_path / "drawn.toml"
    path.write_text(DRAWN)
    swarm: Any = SimpleNamespace(lab=SimpleNamespace(nodes={}, client_hosts={}))
    seeded = read_schedule(path, trial.inputs.seed)
    for plan in (path, seeded):
        assert Faults(trial).schedule(plan, on=swarm).plan.lines() == seeded.lines()
