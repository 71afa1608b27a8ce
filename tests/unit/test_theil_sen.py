"""The slope of Theil and Sen, held against scipy's; equal values included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.theil_sen import theil_sen


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(-9, 9)),
        min_size=3,
        max_size=40,
        unique_by=lambda point: point[0],
    )
)
def test_slope_and_interval_are_those_of_scipy(points: list[tuple[int, int]]) -> None:
    times, values = [float(t) for t, _ in points], [float(v) for _, v in points]
    found = theil_sen(times, values)
    theirs = stats.theilslopes(values, times, alpha=0.95)
    assert found is not None
    assert found.slope == pytest.approx(theirs.slope)
    assert found.low <= theirs.low_slope + 1e-9
    assert found.high >= theirs.high_slope - 1e-9


def test_one_moment_has_no_slope() -> None:
    assert theil_sen([1.0, 1.0], [1.0, 2.0]) is None
