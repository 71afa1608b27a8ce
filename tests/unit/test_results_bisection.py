"""Bisection among noisy trials: how often it errs, how many trials it takes, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.results.statistics.bisection import Bisection

CERTAINTY = 0.95
REPETITIONS = 200


def versions(count: int) -> list[str]:
    return [f"{number}.0" for number in range(count)]


def search(
    rng: np.random.Generator, count: int, change: int, before: float, after: float, most: int = 160
) -> tuple[int | None, int]:
    """The place that was found, and after how many trials."""
    bisection = Bisection(versions(count))
    for trials in range(most):
        if (found := bisection.found(CERTAINTY)) is not None:
            return found, trials
        version = bisection.next_version()
        chance = after if version >= change else before
        bisection.record(version, failed=bool(rng.random() < chance))
    return bisection.found(CERTAINTY), most


@pytest.mark.parametrize(
    ("before", "after", "most_trials"),
    [(0.0, 1.0, 14), (0.02, 0.95, 14), (0.1, 0.7, 40), (0.05, 0.4, 80)],
)
def test_it_is_wrong_no_oftener_than_it_says(before: float, after: float, most_trials: int) -> None:
    """The stated certainty holds for any place of the change, for sure and for rare failures.

    A twentieth may be wrong: of 200 searches at a true 5 %, more than 19 only in one of 400 such
    tests (binomial). The seed is fixed.
    """
    rng = np.random.default_rng(1)
    wrong = undecided = trials = 0
    for _ in range(REPETITIONS):
        change = int(rng.integers(1, 8))
        found, took = search(rng, 8, change, before, after)
        undecided += found is None
        wrong += found is not None and found != change
        trials += took
    assert wrong <= 19
    assert undecided <= REPETITIONS // 10
    assert trials / REPETITIONS <= most_trials


def test_sure_failures_among_many_versions_take_few_trials() -> None:
    """Asking each of 32 versions once would be 32 trials."""
    rng = np.random.default_rng(2)
    took = [search(rng, 32, int(rng.integers(1, 32)), 0.0, 1.0)[1] for _ in range(20)]
    assert np.mean(took) < 16


@pytest.mark.parametrize(("chance", "place"), [(1.0, 0), (0.0, 4)])
def test_an_end_that_was_called_wrong_is_noticed(chance: float, place: int) -> None:
    rng = np.random.default_rng(3)
    assert search(rng, 4, 2, chance, chance)[0] == place


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
def test_probabilities_remain_probabilities(trials: list[tuple[int, bool]]) -> None:
    bisection = Bisection(versions(5))
    for version, failed in trials:
        bisection.record(version, failed=failed)
    assert np.isfinite(bisection.probabilities).all()
    assert bisection.probabilities.sum() == pytest.approx(1)
    assert 0 <= bisection.next_version() < 5
    assert sum(tally.trials for tally in bisection.tallies) == len(trials)


@pytest.mark.parametrize("given_versions", [[], ["1"], ["1", "1"], ["1", "2", "1"]])
def test_what_cannot_be_bisected_is_refused(given_versions: list[str]) -> None:
    with pytest.raises(UsageError, match="two or more different"):
        Bisection(given_versions)
