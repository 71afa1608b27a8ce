"""Failures confined to one network, of requests that are written down."""

import pytest

from harness.probes.reachability import Outage
from harness.probes.sampling.http_prober import Attempt, Cell
from harness.probes.single_network_failures import (
    UNWATCHED_AFTER,
    failures_on_one_network,
    longest_on_one_network,
)

NORTH = Cell("w1 in north", "both.1")
SOUTH = Cell("w1 in south", "both.1")


class Watched:
    """A reachability probe that has seen these requests."""

    def __init__(self, *attempts: Attempt) -> None:
        self._attempts = attempts

    def attempts(self, *, inside: bool) -> list[Attempt]:
        assert inside
        return sorted(self._attempts, key=lambda attempt: attempt.t)


def asked(cell: Cell, t: float, outcome: str = "ok", took: float = 0.5) -> Attempt:
    return Attempt(cell, "10.0.1.2", 8000, t, took, outcome)


def row(cell: Cell, start: float, end: float, outcome: str = "ok") -> list[Attempt]:
    return [asked(cell, float(t), outcome) for t in range(int(start), int(end))]


def longest(*attempts: Attempt) -> tuple[float, bool]:
    found = longest_on_one_network(Watched(*attempts), "both")  # type: ignore[arg-type]
    return found.seconds, found.reached


def test_a_task_that_answers_everywhere_has_no_such_failure() -> None:
    assert longest(*row(NORTH, 0, 9), *row(SOUTH, 0, 9)) == (0.0, True)


def test_a_task_that_answers_nowhere_has_no_such_failure() -> None:
    assert longest(*row(NORTH, 0, 9, "timeout"), *row(SOUTH, 0, 9, "timeout")) == (0.0, True)


def test_a_failure_counts_from_the_first_answer_on_the_other_network() -> None:
    attempts = [
        *row(NORTH, 0, 6, "timeout"),
        asked(NORTH, 6.0),
        *row(SOUTH, 0, 2, "timeout"),
        *row(SOUTH, 2, 7),
    ]
    assert longest(*attempts) == (4.0, True)


def test_a_failure_that_lasts_is_open() -> None:
    assert longest(*row(NORTH, 0, 6, "timeout"), *row(SOUTH, 0, 6)) == (5.5, False)


def test_the_longest_of_all_comes_with_its_outcomes() -> None:
    watched = Watched(
        asked(NORTH, 0.0, "timeout"),
        asked(NORTH, 1.0, "refused"),
        asked(NORTH, 4.0),
        asked(SOUTH, 0.0),
        asked(SOUTH, 5.0, "reset"),
        asked(NORTH, 5.0),
        asked(SOUTH, 6.0),
    )
    found = longest_on_one_network(watched, "both")  # type: ignore[arg-type]
    assert found.seconds == 4.0
    assert found.last == "w1 in north to both.1: timeout, refused"


def test_a_gap_in_the_requests_ends_a_failure() -> None:
    after = 1.0 + 2 * UNWATCHED_AFTER
    attempts = [
        *row(NORTH, 0, 2, "timeout"),
        *row(SOUTH, 0, 2),
        asked(NORTH, after, "timeout"),
        asked(SOUTH, after),
    ]
    found = sorted((each.began, each.seconds, each.open) for each in failures(attempts))
    assert found == [(0.0, 1.5, False), (after, 0.5, True)]


def failures(attempts: list[Attempt]) -> list[Outage]:
    return list(failures_on_one_network(sorted(attempts, key=lambda attempt: attempt.t)))


@pytest.mark.parametrize("service", ["bot", "first"])
def test_tasks_of_other_services_do_not_count(service: str) -> None:
    watched = Watched(*row(NORTH, 0, 6, "timeout"), *row(SOUTH, 0, 6))
    assert longest_on_one_network(watched, service).seconds == 0.0  # type: ignore[arg-type]
