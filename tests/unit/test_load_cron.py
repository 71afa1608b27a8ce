"""A cron goes on whatever its work says, and says how often it failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bare_trials import bare_trial

from harness.errors import SwarmError
from harness.load import Cron
from harness.trial import Trial
from harness.wait import NotYet, wait_for


@pytest.fixture
def open_trial(tmp_path: Path) -> Iterator[Trial]:
    trial = bare_trial(tmp_path / "trial")
    yield trial
    trial.finish(None)


def done(cron: Cron, times: int) -> None:
    wait_for(
        lambda: len(cron.acts) >= times or NotYet(f"{len(cron.acts)} times"),
        state=f"{times} acts",
        within=10.0,
        every=0.01,
    )


def test_it_is_done_again_and_again_and_failures_are_counted(open_trial: Trial) -> None:
    said = iter(["one", "", "three"])

    def work() -> str:
        if not (found := next(said, "more")):
            raise SwarmError("no manager answers")
        return found

    with Cron(0.01, work, open_trial) as cron:
        done(cron, 3)
    first = [(act.said, act.failed) for act in cron.acts[:3]]
    assert first == [("one", False), ("no manager answers", True), ("three", False)]
    assert cron.failed == 1
    assert open_trial.doubts == []


def test_a_mistake_of_the_work_itself_is_a_doubt(open_trial: Trial) -> None:
    def broken() -> str:
        raise KeyError("typo")

    with Cron(0.01, broken, open_trial) as cron:
        wait_for(
            lambda: bool(open_trial.doubts) or NotYet("no doubt"),
            state="a doubt",
            within=10.0,
            every=0.01,
        )
    assert cron.acts == []
    assert cron.failed is None, "nothing was done, so nothing is known of failures"


def test_what_was_never_done_took_no_time_that_is_known(open_trial: Trial) -> None:
    assert Cron(1.0, lambda: "", open_trial).longest() is None
