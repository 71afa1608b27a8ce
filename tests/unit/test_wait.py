"""Waiting, on a clock of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import WaitTimeout
from harness.wait import Deadline, Elapsed, NotYet, time_until, wait_for


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, at: float = 100.0) -> None:
        self.now = at
        self.slept: list[Any] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def there_at(clock: Any, moment: float) -> Callable[..., Any]:
    return lambda: clock.now if clock.now >= moment else NotYet(f"it is {clock.now:g}")


def test_a_value_ends_the_wait_at_once() -> None:
    clock = Clock()
    answer = wait_for(lambda: 0, state="x", within=5, clock=clock, sleep=clock.sleep)
    assert answer == 0, "any value but NotYet is a value"
    assert clock.slept == []


def test_the_last_reason_is_in_the_timeout() -> None:
    clock = Clock()
    with pytest.raises(WaitTimeout) as caught:
        wait_for(
            there_at(clock, 200), state="noon", within=3, every=1, clock=clock, sleep=clock.sleep
        )
    assert caught.value.last == "it is 103"
    assert "for noon; last seen: it is 103" in str(caught.value)
    assert caught.value.waited == pytest.approx(3)


def test_it_is_asked_once_even_without_time() -> None:
    clock = Clock()
    asked = []

    def ask() -> NotYet:
        asked.append(1)
        return NotYet("no")

    with pytest.raises(WaitTimeout, match=r"deadline 0 s"):
        wait_for(
            ask,
            state="x",
            within=0,
            clock=clock,
            sleep=clock.sleep,
        )
    assert asked == [1]


def test_a_state_that_comes_with_the_deadline_is_seen() -> None:
    clock = Clock()
    assert wait_for(
        there_at(clock, 103), state="x", within=3, every=2, clock=clock, sleep=clock.sleep
    ) == pytest.approx(103)


def test_what_the_predicate_raises_goes_through() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait_for(broken, state="x", within=1)


@given(after=st.floats(0, 50), within=st.floats(0.01, 20), every=st.floats(0.01, 5))
def test_a_wait_ends_with_the_state_or_the_deadline_and_not_later(
    after: float, within: float, every: float
) -> None:
    clock = Clock(0.0)
    seen = time_until(
        there_at(clock, after),
        state="x",
        within=within,
        every=every,
        clock=clock,
        sleep=clock.sleep,
    )
    assert seen.seconds <= within + 0.002
    if seen.reached:
        assert after <= seen.seconds <= after + every + 0.002
    else:
        assert after > within
        assert seen.last.startswith("it is ")


def test_time_is_counted_from_since() -> None:
    clock = Clock(100.0)
    seen = time_until(
        there_at(clock, 104), state="x", within=10, since=97.0, clock=clock, sleep=clock.sleep
    )
    assert seen.seconds == pytest.approx(7, abs=0.11)
    assert seen.reached


def test_a_watch_that_was_over_before_it_began_asks_once() -> None:
    clock = Clock(100.0)
    seen = time_until(lambda: NotYet("late"), state="x", within=5, since=80.0, clock=clock)
    assert seen == Elapsed(20.0, reached=False, last="late")


def test_a_deadline_never_has_less_than_nothing_left() -> None:
    clock = Clock()
    deadline = Deadline(2, clock)
    assert (deadline.remaining, deadline.expired) == (2, False)
    clock.now += 5
    assert (deadline.remaining, deadline.expired, deadline.elapsed) == (0, True, 5)
