"""``swarm-chaos bisect``: which engines it tries, what it says, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stored_runs

from harness.cli import bisect, main
from harness.errors import UsageError
from harness.trial import Bound, Measure, TrialRecord

SCENARIO = "test_subnet_exhausted.py::test_slash_30"
ENDS = ["--good", "20.10.5", "--bad", "28.5.2"]


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, int]]]:
    """Have trials fail as told; returns the engines and seeds that were tried."""
    tried: list[tuple[str, int]] = []

    def replace(outcome: Callable[[str, int], bool | None]) -> list[tuple[str, int]]:
        def trial(_scenario: str, engine: str, seed: int, *_: Any) -> bool | None:
            tried.append((engine, seed))
            return outcome(engine, seed)

        monkeypatch.setattr(bisect, "_trial", trial)
        return tried

    return replace


def test_it_finds_the_first_engine_that_fails(
    trials: Callable[..., list[tuple[str, int]]], capsys: pytest.CaptureFixture[str]
) -> None:
    tried = trials(lambda engine, seed: engine in ("26.1.5", "28.5.2"))
    assert main.call(["bisect", SCENARIO, *ENDS, "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["first_bad"] == "26.1.5"
    assert facts["probabilities"]["since 26.1.5"] > 0.95
    assert len(set(tried)) == len(tried) < 15
    assert "trial 1: " in err


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [(True, "20.10.5 was called good, but it fails too"), (False, "28.5.2 was called bad")],
)
def test_an_end_that_is_not_what_it_was_called_ends_with_2(
    trials: Callable[..., list[tuple[str, int]]],
    capsys: pytest.CaptureFixture[str],
    fails: bool,
    sentence: str,
) -> None:
    trials(lambda *_: fails)
    assert main.call(["bisect", SCENARIO, *ENDS]) == 2
    assert sentence in capsys.readouterr().out


def test_what_is_not_certain_enough_is_said_with_how_to_go_on(
    trials: Callable[..., list[tuple[str, int]]], capsys: pytest.CaptureFixture[str]
) -> None:
    trials(lambda engine, seed: engine == "28.5.2")
    assert main.call(["bisect", SCENARIO, *ENDS, "--most", "2"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("not certain enough")
    assert "--most" in out


def test_trials_without_a_verdict_end_it(
    trials: Callable[..., list[tuple[str, int]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(trials(lambda *_: None)) == 0
    assert main.call(["bisect", SCENARIO, *ENDS]) == 2
    assert "gave no verdict" in capsys.readouterr().err


def test_engines_are_debians_between_the_ends_or_those_named() -> None:
    assert bisect.engines_between("oldest", "newest", None) == [
        *("20.10.5", "20.10.24", "26.1.5", "28.5.2"),
    ]
    assert bisect.engines_between("28.5.2", "20.10.24", None) == ["28.5.2", "26.1.5", "20.10.24"]
    named = bisect.engines_between("20.10.5", "dir:/opt/mine", "26.1.5, 28.5.2")
    assert named == ["20.10.5", "26.1.5", "28.5.2", "dir:/opt/mine"]
    with pytest.raises(UsageError, match="the same engine"):
        bisect.engines_between("stable", "26.1.5", None)
    with pytest.raises(UsageError):
        bisect.engines_between("no-such-engine", "stable", None)


@pytest.mark.parametrize("scenario", ["slash_30", "test_nothing.py::test_x"])
def test_a_scenario_has_to_be_one_that_is_there(scenario: str) -> None:
    assert main.call(["bisect", scenario, *ENDS]) == 64


def test_a_trial_may_be_judged_by_one_measure(tmp_path: Path) -> None:
    def bounded(name: str, ok: bool | None) -> Measure:
        return Measure(name, 1.0, "s", bound=Bound("below", 2.0, ""), ok=ok)

    record = TrialRecord(
        id="x",
        inputs=stored_runs.given(),
        verdict="fail",
        seconds=1.0,
        measures=(bounded("broken", ok=False), bounded("kept", ok=True)),
    )
    assert bisect.failed_by(record, None) is True
    assert bisect.failed_by(record, "broken") is True
    assert bisect.failed_by(record, "kept") is False
    with pytest.raises(UsageError, match="no measure"):
        bisect.failed_by(record, "other")


def test_components_are_exchanged_one_after_the_other(
    trials: Callable[..., list[tuple[str, int]]], capsys: pytest.CaptureFixture[str]
) -> None:
    trials(lambda engine, _seed: "containerd=28.5.2" in engine or engine == "28.5.2")
    assert main.call(["bisect", SCENARIO, *ENDS, "--components", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [each["engine"] for each in facts["engines"]] == [
        "20.10.5",
        "20.10.5+runc=28.5.2",
        "20.10.5+containerd=28.5.2+runc=28.5.2",
        "28.5.2",
    ]
    assert facts["first_bad"] == "20.10.5+containerd=28.5.2+runc=28.5.2"


def test_components_are_no_releases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["bisect", SCENARIO, *ENDS, "--components", "--among", "26.1.5"]) == 64
    assert "--among and --components" in capsys.readouterr().err
