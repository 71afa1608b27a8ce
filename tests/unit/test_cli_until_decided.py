"""``swarm-chaos run --until-decided``: what it draws, when it stops, what it leaves and refuses."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from stored_runs import given, store_trial

from harness.cli import main, until_decided
from harness.cli.until_decided import Request, Round
from harness.errors import UsageError
from harness.results import RunWriter, latest_run, list_runs, read_run
from harness.results.comparison import compare_in_sequence
from harness.results.comparison_sides import sides_by_engine
from harness.results.next_trials import MOST_AT_ONCE, next_trials, seconds_of_pairs

QUICK = "scenarios/test_subnet_exhausted.py::test_slash_30"
OTHER = "scenarios/test_manager_failover.py::test_leader_killed[dockerd]"
ENGINES = "26.1.5,28.5.2"
ASKED = ["run", "--until-decided", "--engine", ENGINES, "--budget", "1h"]

Value = Callable[[str, str, int], float | None]
"""What a trial measures, by scenario, engine and seed; None: it has no verdict."""


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Round]]:
    """Have trials measure what a function says; returns the rounds that were run."""
    ran: list[Round] = []

    def replace(value: Value, *, scenarios: tuple[str, ...] = (QUICK,)) -> list[Round]:
        def run_round(request: Request, planned: Round, reports: Path, left: float) -> float:
            ran.append(planned)
            writer = RunWriter.create(reports, command=["pytest"], harness="1")
            for scenario in planned.scenarios:
                for seed in range(planned.seed, planned.seed + planned.pairs):
                    for engine in request.engines:
                        found = value(scenario, engine, seed)
                        store_trial(
                            writer,
                            given(engine, seed=seed, scenario=scenario),
                            {"time to a new leader": found or 0.0},
                            limit=99.0,
                            doubt="no evidence" if found is None else "",
                        )
            return 1.0

        monkeypatch.setattr(until_decided, "run_round", run_round)
        monkeypatch.setattr(until_decided, "_chosen", lambda _: scenarios)
        return ran

    monkeypatch.chdir(tmp_path)
    return replace


def noise(scenario: str, engine: str, seed: int) -> float:
    return 10 + random.Random(f"{scenario} {engine} {seed}").gauss(0, 1)


def slower(scenario: str, engine: str, seed: int) -> float:
    return noise(scenario, engine, seed) + (3.0 if engine == "28.5.2" else 0.0)


def test_it_stops_when_a_difference_is_certain(
    pretend: Callable[..., list[Round]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = pretend(slower)
    assert main.call(ASKED) == 0
    out, err = capsys.readouterr()
    assert "28.5.2 against 26.1.5" in out
    assert "Worse: 1 measure, with a bound." in out
    assert "stopped: all is decided" in out
    assert "round 1: " in err
    seeds = [seed for each in ran for seed in range(each.seed, each.seed + each.pairs)]
    assert seeds == list(range(1, len(seeds) + 1))
    assert 6 <= len(seeds) <= 25
    [run] = list_runs(tmp_path / "reports")
    assert len(read_run(run).trials) == 2 * len(seeds)
    assert (run / "index.html").exists()
    assert [path.name for path in (tmp_path / "reports").iterdir() if path.name != "latest"] == [
        run.name
    ]


def test_it_stops_when_nothing_differs(
    pretend: Callable[..., list[Round]], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = pretend(noise)
    assert main.call([*ASKED, "--seed", "7"]) == 0
    assert "Nothing is known to be worse" in capsys.readouterr().out
    assert ran[0].seed == 7
    assert sum(each.pairs for each in ran) < 30


def test_a_stored_run_is_gone_on_from(
    pretend: Callable[..., list[Round]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pretend(slower)
    assert main.call(ASKED) == 0
    first = latest_run(tmp_path / "reports")
    pretend(slower).clear()
    asked = ["run", "--until-decided", "--budget", "1h", "--continue", first.name]
    assert main.call(asked) == 0
    ran = pretend(slower)
    assert ran == []  # it is decided already, by the engines of that run
    assert "stopped: all is decided" in capsys.readouterr().out


def test_a_budget_that_is_used_up_leaves_what_there_is_and_ends_with_2(
    pretend: Callable[..., list[Round]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pretend(slower)
    clock = iter(range(0, 100_000, 1100))
    monkeypatch.setattr("harness.cli.until_decided.time.monotonic", lambda: float(next(clock)))
    assert main.call(ASKED) == 2
    out = capsys.readouterr().out
    assert "stopped: the budget is used up, and 2 measures are not decided" in out
    assert "Not decided" in out
    assert len(list_runs(tmp_path / "reports")) == 1


def test_rounds_without_a_verdict_end_with_a_way_out(
    pretend: Callable[..., list[Round]], capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(lambda *_: None)
    assert main.call(ASKED) == 2
    assert f"stopped: no pair of usable trials of {QUICK}" in capsys.readouterr().out


def test_a_scenario_without_a_verdict_is_not_decided_by_the_others(
    pretend: Callable[..., list[Round]], capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(
        lambda scenario, *rest: None if scenario == OTHER else slower(scenario, *rest),
        scenarios=(QUICK, OTHER),
    )
    assert main.call(ASKED) == 2
    assert f"stopped: no pair of usable trials of {OTHER}" in capsys.readouterr().out


def test_an_interrupt_leaves_the_rounds_as_one_run(
    pretend: Callable[..., list[Round]], tmp_path: Path
) -> None:
    def interrupted(scenario: str, engine: str, seed: int) -> float:
        if seed == 4:
            raise KeyboardInterrupt
        return noise(scenario, engine, seed)

    pretend(interrupted)
    assert main.call(ASKED) == 130
    [run] = list_runs(tmp_path / "reports")
    assert len(read_run(run).trials) >= 2
    assert not list((tmp_path / "reports").glob(".until*"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"--engine": "26.1.5"}, "compares two engines, and 1 is named"),
        ({"--engine": "26.1.5,26.1.5"}, "compares two engines, and 1 is named"),
        ({"--engine": "20.10.5,26.1.5,28.5.2"}, "compares two engines, and 3 are named"),
        ({"--engine": "20.10.5:managers,28.5.2:workers"}, "not the roles of one swarm"),
        ({"--engine": "latest-and-greatest,28.5.2"}, "latest-and-greatest"),
        ({"--engine": None}, "compares two engines, and none is named"),
        ({"--budget": "soon"}, "'soon' is not a valid budget: give a duration"),
        ({"--budget": "2"}, "'2' is not a valid budget"),
        ({"--budget": "-2h"}, "'-2h' is not a valid budget"),
        ({"--budget": None}, "needs a budget"),
        ({"--trials": "3"}, "--until-decided and --trials do not go together"),
        ({"--controls": ""}, "controls are not compared"),
        ({"--continue": "nothing"}, "there is no run at nothing"),
        ({"--seed": "x"}, "'x' is not a valid integer"),
        ({"-k": "no_such_scenario"}, "there is no scenario to run"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    changed: dict[str, str | None],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"--engine": ENGINES, "--budget": "1h", **changed}
    words = [
        word for option, value in given.items() if value is not None for word in (option, value)
    ]
    assert main.call(["run", "--until-decided", *(word for word in words if word)]) == 64
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_engines_that_are_one_are_refused(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    store_trial(writer, given("26.1.5"), {"gap": 1.0})
    with pytest.raises(UsageError, match="compares two engines, and 1 is named"):
        until_decided.two_engines((), [writer.folder])


def test_what_decides_most_in_the_least_time_is_drawn_first(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for scenario, spread in ((QUICK, 1.0), (OTHER, 1.0)):
        for seed in (1, 2, 3):
            for version in ENGINES.split(","):
                inputs = given(version, seed=seed, scenario=scenario)
                value = 10 + spread * noise(scenario, version, seed)
                store_trial(writer, inputs, {"gap": value}, limit=99.0)
    sides = sides_by_engine([read_run(writer.folder)])
    findings = compare_in_sequence(sides, by="engine").pairings[0].findings
    both = (QUICK, OTHER)
    found = next_trials(findings, {QUICK: 10.0, OTHER: 100.0}, left=1e6, among=both)
    assert found is not None
    assert found.scenario == QUICK
    assert 1 <= found.pairs <= MOST_AT_ONCE
    dear = next_trials(findings, {QUICK: 1000.0, OTHER: 10.0}, left=1e6, among=both)
    assert dear is not None
    assert dear.scenario == OTHER
    assert next_trials(findings, {QUICK: 10.0, OTHER: 10.0}, left=5.0, among=both) is None
    assert next_trials(findings, {QUICK: 10.0, OTHER: 10.0}, left=1e6, among=()) is None
    barely = next_trials(findings, {QUICK: 10.0, OTHER: 100.0}, left=11.0, among=both)
    assert barely is not None
    assert barely.pairs == 1
    assert set(seconds_of_pairs(sides)) == set(both)
