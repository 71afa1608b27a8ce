"""Moments to count from, and waits that a scenario may expect to end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

import pytest

from harness.errors import EXIT_EXPECTATION, ExpectationTimeout, WaitTimeout
from harness.swarm import Swarm
from harness.trial import judge
from harness.wait import NotYet, expect_state, monotonic_moment, time_until, trial_moment


@dataclass
class Outage:
    """What a fault says of when it was injected."""

    injected_at: float = 97.0
    began: float = 12.5


def test_a_fault_is_the_moment_of_its_injection_on_either_clock() -> None:
    assert (monotonic_moment(Outage()), trial_moment(Outage())) == (97.0, 12.5)
    assert (monotonic_moment(3.5), trial_moment(3.5)) == (3.5, 3.5)


def test_time_is_counted_from_a_faults_injection() -> None:
    seen = time_until(lambda: True, state="x", within=10, since=Outage(), clock=lambda: 100.0)
    assert seen.seconds == pytest.approx(3.0)


def test_a_state_that_the_swarm_owes_and_that_does_not_come_fails_the_scenario() -> None:
    with pytest.raises(ExpectationTimeout) as late:
        expect_state(lambda: NotYet("nobody leads"), state="a leader", within=0.0)
    verdict, reason = judge(late.value, [], [])
    assert verdict == "fail"
    assert reason.endswith("for a leader; last seen: nobody leads")
    assert late.value.exit_code == EXIT_EXPECTATION


def test_any_other_wait_that_runs_out_says_nothing_of_the_swarm() -> None:
    late = WaitTimeout("a bridge", within=1, waited=1, last="none")
    assert judge(late, [], [])[0] == "unknown"
    owed = ExpectationTimeout("a leader", within=1, waited=1, last="none")
    assert judge(owed, [], ["the fault left no evidence"])[0] == "unknown"


class Journal:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, kind: str, *, text: str) -> float:
        """Keep a note."""
        assert kind == "note"
        self.texts.append(text)
        return 0.0


def test_a_swarm_is_observed_for_so_long_after_a_moment_and_the_journal_says_why() -> None:
    journal: Any = Journal()
    swarm = Swarm(cast("Any", None), journal=journal)
    before = time.monotonic()
    swarm.observe(0.2, "gossip settles")
    assert time.monotonic() - before >= 0.2
    before = time.monotonic()
    swarm.observe(5.0, "nothing", since=before - 10.0)
    assert time.monotonic() - before < 1.0, "it was over before it began"
    assert journal.texts == ["observing for 0.2 s: gossip settles", "observing for 5 s: nothing"]
