"""Slopes that are known, samples that lie, and series that begin with something else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optionals import not_none
from scipy import stats

from harness.probes.sampling.robust_slope import LEAST, settled_at, trend_of


def noisy(
    slope: float, count: int = 40, seed: int = 1, noise: float = 1.0
) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    times = [2.0 * number for number in range(count)]
    return times, [100 + slope * t + rng.gauss(0, noise) for t in times]


@pytest.mark.parametrize("slope", [0.0, 0.05, 3.0, -1.0])
def test_the_slope_is_found_and_its_interval_holds_it(slope: float) -> None:
    trend = trend_of(*noisy(slope))
    assert not_none(trend).low <= slope <= not_none(trend).high
    assert not_none(trend).slope == pytest.approx(slope, abs=0.05)
    assert not_none(trend).grows == (slope > 0)


def test_a_fifth_of_wild_samples_does_not_bend_it() -> None:
    times, values = noisy(1.0)
    for number in range(0, 40, 5):
        values[number] += 1000
    assert not_none(trend_of(times, values)).slope == pytest.approx(1.0, abs=0.1)


@given(st.integers(0, 1000), st.floats(-5, 5), st.integers(10, 40))
def test_slope_and_interval_are_those_of_scipy(seed: int, slope: float, count: int) -> None:
    times, values = noisy(slope, count, seed)
    trend = trend_of(times, values)
    cut = count - not_none(trend).samples
    theirs = stats.theilslopes(values[cut:], times[cut:], alpha=0.95)
    assert not_none(trend).slope == pytest.approx(theirs.slope)
    # theirs rounds the ranks, ours takes the wider one
    assert not_none(trend).low <= theirs.low_slope + 1e-9
    assert not_none(trend).high >= theirs.high_slope - 1e-9


def test_what_comes_before_the_series_has_settled_is_left_out() -> None:
    rng = random.Random(2)
    values = [10.0 * number for number in range(10)] + [100 + rng.gauss(0, 1) for _ in range(30)]
    times = [float(number) for number in range(40)]
    assert 9 <= settled_at(values) <= 12
    trend = trend_of(times, values)
    assert not_none(trend).settled >= 9
    assert not not_none(trend).grows


def test_a_series_that_never_settles_keeps_its_later_half() -> None:
    times, values = noisy(10.0, noise=0.1)
    trend = trend_of(times, values)
    assert not_none(trend).samples >= 20
    assert not_none(trend).grows


def test_too_few_samples_give_no_slope() -> None:
    times, values = noisy(1.0, count=LEAST - 1)
    assert trend_of(times, values) is None
    assert trend_of([], []) is None
    assert trend_of([1.0] * 20, list(range(20))) is None


def test_a_constant_does_not_grow() -> None:
    trend = trend_of([float(n) for n in range(20)], [5.0] * 20)
    assert (
        not_none(trend).slope,
        not_none(trend).low,
        not_none(trend).high,
        not_none(trend).grows,
    ) == (0, 0, 0, False)
