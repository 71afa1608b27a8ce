"""Waiting for states, never for time.

Every wait has a deadline and polls a predicate. A predicate returns a value when the state is
reached, and :class:`NotYet` with a reason otherwise; a timeout reports the last reason. The clock
is ``time.monotonic`` (in a guest: virtual time).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from harness.errors import ExpectationTimeout, WaitTimeout

T = TypeVar("T")


@dataclass(frozen=True)
class NotYet:
    """The state is not reached yet; ``reason`` is what was seen instead."""

    reason: str


@dataclass
class Deadline:
    """A point on the monotonic clock, ``seconds`` from when it was made."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the deadline was set."""
        return self.clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.elapsed >= self.seconds


def wait_for(
    predicate: Callable[[], T | NotYet],
    *,
    state: str,
    within: float,
    every: float = 0.1,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Poll ``predicate`` every ``every`` seconds until it returns a value; return that.

    The predicate is asked at least once, and once more at the deadline. Raises
    :class:`~harness.errors.WaitTimeout` naming ``state`` and the last reason; what the predicate
    raises goes through unchanged.
    """
    deadline = Deadline(within, clock)
    while True:
        expired = deadline.expired
        answer = predicate()
        if not isinstance(answer, NotYet):
            return answer
        if expired:
            raise WaitTimeout(state, within=within, waited=deadline.elapsed, last=answer.reason)
        sleep(min(every, max(deadline.remaining, 0.001)))


def expect_state(
    predicate: Callable[[], T | NotYet], *, state: str, within: float, every: float = 0.1
) -> T:
    """Like :func:`wait_for`, for a state that the swarm under test owes to a scenario.

    One that does not come is the swarm's failure and no trouble of the lab: raises
    :class:`~harness.errors.ExpectationTimeout`.
    """
    try:
        return wait_for(predicate, state=state, within=within, every=every)
    except WaitTimeout as late:
        raise ExpectationTimeout(
            late.state, within=late.within, waited=late.waited, last=late.last
        ) from None


class HasInjectedAt(Protocol):
    """What began at a moment, on both clocks: a fault. Both raise before it is injected."""

    @property
    def injected_at(self) -> float:
        """A reading of the monotonic clock."""

    @property
    def began(self) -> float:
        """The same in seconds since the trial began."""


Moment = float | HasInjectedAt
"""A point in time, or the fault whose injection is meant: ``since=outage``."""


def monotonic_moment(since: Moment) -> float:
    """Return a moment as a reading of the monotonic clock."""
    return since if isinstance(since, (int, float)) else since.injected_at


def trial_moment(since: Moment) -> float:
    """Return a moment in seconds since the trial began."""
    return since if isinstance(since, (int, float)) else since.began


@dataclass(frozen=True)
class Elapsed:
    """How long it took to reach a state, or that it was not reached.

    ``seconds`` is the time from the start of the count until the state was seen, or until the
    wait ended without it; then ``reached`` is False and the true time is only known to be
    longer (right-censored). ``last`` is what was seen last.
    """

    seconds: float
    reached: bool
    last: str = ""


def time_until(
    predicate: Callable[[], object | NotYet],
    *,
    state: str,
    within: float,
    every: float = 0.1,
    since: Moment | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Elapsed:
    """Return how long ``state`` takes to come, counted from ``since`` (default: now).

    ``since`` is a reading of the monotonic clock, or a fault: then its injection.

    It stops ``within`` seconds after ``since``; the predicate is asked at least once.

    Like :func:`wait_for`, but a state that does not come is an answer and not an error:
    a measure of it is recorded as "longer than".
    """
    start = clock() if since is None else monotonic_moment(since)
    try:
        left = max(0.0, within - (clock() - start))
        wait_for(predicate, state=state, within=left, every=every, clock=clock, sleep=sleep)
    except WaitTimeout as timeout:
        return Elapsed(clock() - start, reached=False, last=timeout.last)
    return Elapsed(clock() - start, reached=True)
