"""Stored trials judged again: by a stricter bound, a milder one, and none."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_runs import store_run

from harness.cli import main
from harness.docgen import collection
from harness.results.rejudge import rejudged
from harness.trial import Expectation
from harness.wait import Elapsed

NAME = "time to a new leader"


def today(limit: float) -> dict[str, Expectation]:
    return {NAME: Expectation(NAME, unit="s", at_most=limit, source="today")}


@pytest.mark.parametrize(
    ("value", "then", "now", "verdicts"),
    [
        (10.0, 20.0, 5.0, ("pass", "fail")),
        (10.0, 5.0, 20.0, ("fail", "pass")),
        (10.0, 20.0, 15.0, ("pass", "pass")),
        (Elapsed(10.0, reached=False), 5.0, 8.0, ("fail", "fail")),
    ],
)
def test_a_bound_of_today_decides(
    tmp_path: Path, value: float, then: float, now: float, verdicts: tuple[str, str]
) -> None:
    [trial] = store_run(tmp_path, [value], limit=then).trials
    again = rejudged(trial, today(now))
    assert (trial.record.verdict, again.today.verdict) == verdicts
    [(_, after)] = again.changes
    assert after.bound is not None
    assert after.bound.limit == now
    assert rejudged(trial, today(then)).changes == ()


def test_what_was_doubted_stays_unknown(tmp_path: Path) -> None:
    [trial] = store_run(tmp_path, [10.0], limit=20.0, doubt="the lab broke").trials
    assert rejudged(trial, today(5.0)).today.verdict == "unknown"


def test_a_measure_that_nobody_expects_any_more_is_left_as_it_was(tmp_path: Path) -> None:
    [trial] = store_run(tmp_path, [10.0], limit=20.0).trials
    again = rejudged(trial, {})
    assert (again.changes, again.today.verdict) == ((), "pass")


@pytest.mark.parametrize(("limit", "code"), [(5.0, 1), (20.0, 0), (15.0, 0)])
def test_the_command_ends_with_1_when_a_trial_is_worse_today(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limit: float,
    code: int,
) -> None:
    run = store_run(tmp_path, [10.0, 11.0], limit=20.0)
    known = {"test_manager_failover.py": today(limit)}
    monkeypatch.setattr(collection, "expectations", lambda _folder: known)
    assert main.call(["results", "rejudge", str(run.folder)]) == code
    out = capsys.readouterr().out
    assert ("pass, today fail" in out) == (code == 1)
    assert "2 trials judged again" in out


def test_todays_expectations_are_the_scenarios_own() -> None:
    found = collection.expectations(Path(__file__).parents[2] / "scenarios")
    assert found["test_manager_failover.py"][NAME].limit == 45
