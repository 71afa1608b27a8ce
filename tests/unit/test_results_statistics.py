"""What numbers of several trials say: exactness, symmetries, words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from optionals import not_none
from scipy import stats

from harness.results.statistics import (
    Contrast,
    MeasurePair,
    Sample,
    adjusted_p_values,
    changes,
    contrast,
    contrast_shares,
    judge_all,
    judge_contrast,
    rate_of,
    slope_of,
    trials_needed,
)
from harness.results.statistics.permutation import mean_test, rank_test, scores_of, smallest_p

FLIPPED = {"regressed": "improved", "improved": "regressed"}

values = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=9)


@st.composite
def samples(draw: Callable[..., Any]) -> Sample:
    numbers = draw(values)
    beyond = draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers)))
    return Sample.of(numbers, beyond)


def normal(
    seed: int | Sequence[int], trials: int, mean: float = 10.0, deviation: float = 1.0
) -> Sample:
    return Sample.of(np.random.default_rng(seed).normal(mean, deviation, trials))


# -- the test ------------------------------------------------------------------------------------


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10_000))
def test_without_ties_it_is_mann_and_whitneys(first: int, second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=first), rng.normal(0.5, size=second)
    ours = rank_test(Sample.of(a), Sample.of(b))
    theirs = stats.mannwhitneyu(b, a, method="exact")
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.delta == pytest.approx(2 * theirs.statistic / (first * second) - 1)
    assert ours.smallest_p == pytest.approx(smallest_p(first, second))


@settings(max_examples=40)
@given(samples(), samples())
def test_with_ties_and_censoring_it_is_the_whole_permutation_test(
    first: Sample, second: Sample
) -> None:
    assume(len(first) + len(second) <= 10)
    pooled = scores_of(
        np.concatenate([first.array, second.array]), np.concatenate([first.flags, second.flags])
    )
    observed = abs(pooled[len(first) :].sum())
    dealt = [abs(sum(hand)) for hand in itertools.combinations(pooled.tolist(), len(second))]
    found = rank_test(first, second)
    assert found.p == pytest.approx(np.mean([d >= observed for d in dealt]))
    assert found.smallest_p == pytest.approx(np.mean([d == max(dealt) for d in dealt]))


@example([102, 190, 155], 382)  # in fractions scipy took two equal differences for unequal ones
@given(st.lists(st.integers(0, 200), min_size=3, max_size=3), st.integers(0, 1000))
def test_means_are_tested_as_scipy_does_by_listing_all(first: Sequence[int], seed: int) -> None:
    # On the grid already: 0 and 200 are its ends. Of equal sizes, for scipy doubles the smaller
    # tail and ours counts what lies as far out.
    a = np.array([0, *first])
    b = np.concatenate([np.random.default_rng(seed).integers(0, 200, 3), [200]])
    # In whole numbers and by sums, which are exact: scipy takes for equal what differs by less
    # than a share of the difference that was observed, and that may be less than rounding does.
    theirs = stats.permutation_test((b, a), lambda x, y: np.sum(x) - np.sum(y), n_resamples=np.inf)
    assert mean_test(Sample.of(a / 200), Sample.of(b / 200)).p == pytest.approx(theirs.pvalue)


@given(samples(), samples())
def test_sides_swapped_change_the_sign_alone(first: Sample, second: Sample) -> None:
    there, back = contrast(first, second), contrast(second, first)
    assert there.p == pytest.approx(back.p)
    assert there.delta == pytest.approx(-back.delta)
    assert there.shift == pytest.approx(-back.shift)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


@given(samples(), samples(), st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_matter(first: Sample, second: Sample, chance: Any) -> None:
    def shuffled(sample: Sample) -> Sample:
        rows = list(zip(sample.values, sample.censored, strict=True))
        chance.shuffle(rows)
        return Sample.of([v for v, _ in rows], [b for _, b in rows])

    assert contrast(shuffled(first), shuffled(second)) == contrast(first, second)


@given(samples(), samples(), st.integers(-50, 50))
def test_a_shift_of_everything_changes_nothing(first: Sample, second: Sample, by: int) -> None:
    def moved(sample: Sample) -> Sample:
        return Sample.of([v + by for v in sample.values], sample.censored)

    assert contrast(moved(first), moved(second)).p == contrast(first, second).p


@given(samples(), samples())
def test_the_shift_lies_in_its_interval(first: Sample, second: Sample) -> None:
    found = contrast(first, second)
    assert found.low <= found.shift <= found.high
    assert 0 < found.smallest_p <= found.p + 1e-12 <= 1 + 1e-9


def test_longer_than_is_above_all_up_to_where_watching_ended() -> None:
    known, cut = np.array([5.0, 30.0, 40.0]), np.array([30.0, 30.0])
    scores = scores_of(np.concatenate([known, cut]), np.array([False, False, False, True, True]))
    # Both are above 5 and 30; of 40, and of each other, nothing is known.
    assert scores.tolist() == [-4, -2, 2, 2, 2]


def test_an_interval_is_open_where_watching_ended() -> None:
    baseline = normal(1, 10)
    cut = Sample.of([30.0] * 10, [True] * 10)
    slower, faster = contrast(baseline, cut), contrast(cut, baseline)
    assert slower.low > 15
    assert math.isinf(slower.high)
    assert faster.high < -15
    assert math.isinf(faster.low)
    assert slower.p < 0.001


def test_too_small_samples_have_no_interval() -> None:
    assert not contrast(normal(1, 3), normal(2, 3)).bounded
    assert contrast(normal(1, 4), normal(2, 4)).bounded


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(300):
        found = contrast(normal([seed, 1], 8), normal([seed, 2], 8, mean=11.0))
        held += found.low <= 1.0 <= found.high
    assert held / 300 >= 0.92


# -- shares --------------------------------------------------------------------------------------


def test_one_bad_trial_in_five_shows_in_the_mean_of_shares() -> None:
    found = contrast_shares(Sample.of([0.0] * 10), Sample.of([0.0] * 8 + [0.5, 0.5]))
    assert found.shift == pytest.approx(0.1)
    assert found.low <= 0.1 <= found.high


def test_shares_that_never_vary_have_a_point_for_an_interval() -> None:
    found = contrast_shares(Sample.of([0.0] * 5), Sample.of([0.0] * 5))
    assert (found.low, found.high, found.p, found.smallest_p) == (0.0, 0.0, 1.0, 1.0)


def test_a_rate_is_resampled_by_trial_and_not_by_request() -> None:
    # One trial in ten lost half of its requests: by request the interval would be tiny.
    rate = rate_of([(0, 1000)] * 9 + [(500, 1000)])
    assert rate.share == pytest.approx(0.05)
    assert rate.low == 0.0
    assert rate.high > 0.12
    by_request = stats.binomtest(500, 10_000).proportion_ci().high
    assert rate.high > 2 * by_request


def test_a_rate_of_few_trials_may_be_anything_and_of_none_is_refused() -> None:
    assert (rate_of([(1, 10)] * 3).low, rate_of([(1, 10)] * 3).high) == (0.0, 1.0)
    assert rate_of([(1, 10), (2, 20), (10, 100), (3, 30)]).high == pytest.approx(0.1)
    with pytest.raises(ValueError, match="no requests"):
        rate_of([(0, 0)])


# -- many measures -------------------------------------------------------------------------------


def made(p: float, smallest_p: float = 0.001) -> Contrast:
    return Contrast(1.0, 1.0, 0.5, 1.5, p, smallest_p, 0.5, 1.0)


def test_correction_is_benjamini_and_hochbergs() -> None:
    assert adjusted_p_values([made(0.01), made(0.02), made(0.9)], 0.05) == pytest.approx(
        [0.03, 0.03, 0.9]
    )


def test_what_can_never_stand_out_does_not_count() -> None:
    stuck = [made(1.0, smallest_p=1.0)] * 50
    assert adjusted_p_values([made(0.04), *stuck], 0.05)[0] == pytest.approx(0.04)
    assert adjusted_p_values([], 0.05) == []


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12))
def test_correction_never_makes_anything_surer(ps: Sequence[float]) -> None:
    assert all(
        a >= p - 1e-12 for a, p in zip(adjusted_p_values([*map(made, ps)], 0.05), ps, strict=True)
    )


def test_trials_needed_is_the_first_that_can_reach_alpha() -> None:
    for measures in (1, 10, 150):
        need = trials_needed(measures)
        assert smallest_p(need, need) * measures <= 0.05 < smallest_p(need - 1, need - 1) * measures


# -- words ---------------------------------------------------------------------------------------


def word(first: Sample, second: Sample, **settings: Any) -> str:
    [given_answer] = judge_all([MeasurePair(first, second, **settings)])
    return given_answer.judgement.outcome


@pytest.mark.parametrize(
    ("better", "expected"), [("lower", "regressed"), ("higher", "improved"), ("none", "different")]
)
def test_larger_is_worse_better_or_different(better: str, expected: str) -> None:
    assert word(normal(1, 10), normal(2, 10, 20.0), better=better) == expected


@settings(max_examples=60)
@given(samples(), samples(), st.sampled_from([0.0, 1.0, 5.0]))
def test_the_other_direction_flips_the_words(first: Sample, second: Sample, floor: float) -> None:
    lower = word(first, second, better="lower", floor=floor)
    assert word(first, second, better="higher", floor=floor) == FLIPPED.get(lower, lower)
    assert word(second, first, better="lower", floor=floor) == FLIPPED.get(lower, lower)


def test_a_difference_below_the_floor_is_noise() -> None:
    first, second = normal(1, 12, 10.0, 0.1), normal(2, 12, 10.5, 0.1)
    assert word(first, second, floor=0.2) == "regressed"
    assert word(first, second, floor=0.8) == "same"
    assert word(first, second, floor=0.52) == "within noise"


def test_three_trials_are_never_enough() -> None:
    [told] = judge_all([MeasurePair(normal(1, 3), normal(2, 3, 99.0))])
    assert told.judgement.outcome == "inconclusive"
    assert "too few trials" in told.judgement.reason


def test_five_trials_alone_are_enough_and_among_many_measures_are_not() -> None:
    clear = MeasurePair(normal(1, 5), normal(2, 5, 99.0))
    others = [MeasurePair(normal([3, n], 5), normal([4, n], 5)) for n in range(20)]
    assert judge_all([clear])[0].judgement.outcome == "regressed"
    told = judge_all([clear, *others])[0].judgement
    assert told.outcome == "inconclusive"
    assert "at least 6 trials" in told.reason


def test_nothing_told_apart_with_enough_trials_is_within_noise() -> None:
    assert word(normal(1, 15), normal(2, 15)) == "within noise"


def test_a_spread_that_hides_anything_is_inconclusive() -> None:
    wide = Sample.of([0, 0, 0, 0, 100.0])
    assert word(Sample.of([0, 0, 0, 0, 0.0]), wide, floor=1.0) == "inconclusive"


def test_half_of_the_trials_far_out_regress_though_the_typical_one_does_not() -> None:
    first, second = Sample.of([1.0] * 20), Sample.of([1.0] * 11 + [30.0] * 9)
    found = contrast(first, second)
    assert found.shift == 0.0
    assert word(first, second, floor=0.5) == "regressed"


def test_a_sentence_is_always_given() -> None:
    for first, second in ((1.0, 1.0), (1.0, 9.0)):
        told = judge_contrast(
            contrast(Sample.of([first]), Sample.of([second])),
            better="lower", floor=0.0, adjusted=1.0, measures=1,
        )  # fmt: skip
        assert told.reason


# -- growth and change points --------------------------------------------------------------------


def test_a_slope_is_seen_through_a_saw_and_outliers() -> None:
    at = np.arange(0, 600, 1.0)
    heap = 100 + 0.02 * at + (at % 37) / 3
    heap[::50] += 500
    slope = slope_of(at.tolist(), heap.tolist())
    assert not_none(slope).low <= 0.02 <= not_none(slope).high
    assert not_none(slope).low > 0
    assert not_none(slope).per_second == pytest.approx(0.02, abs=0.005)


def test_what_does_not_grow_is_not_said_to() -> None:
    rng = np.random.default_rng(5)
    said = sum(
        not_none(slope_of(range(300), (100 + rng.normal(size=300)).tolist())).low > 0
        for _ in range(200)
    )
    assert said / 200 <= 0.05


def test_too_few_samples_make_no_slope() -> None:
    assert slope_of([], []) is None
    assert slope_of([1, 2, 3], [1, 2, 3]) is None
    assert slope_of([1.0] * 50, range(50)) is None
    assert not_none(slope_of([*range(20), math.nan], [*range(21)])).per_second == pytest.approx(1.0)
    with pytest.raises(ValueError, match="1 times and 2 values"):
        slope_of([1], [1, 2])


def test_a_change_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    series = [*rng.normal(10, 1, 20), *rng.normal(15, 1, 12), *rng.normal(10, 1, 15)]
    found = changes(series)
    assert [abs(change.at - at) <= 1 for change, at in zip(found, (20, 32), strict=True)] == [
        True,
        True,
    ]
    assert found[0].shift == pytest.approx(5, abs=1)
    assert changes(series, floor=7.0) == ()


def test_a_short_or_constant_series_never_changes() -> None:
    assert changes([1, 1, 1, 1, 9, 9, 9, 9, 9]) == ()
    assert changes([3.0] * 50) == ()
    assert changes([]) == ()


@given(st.lists(st.integers(0, 5), min_size=10, max_size=25), st.integers(1, 9))
@settings(max_examples=25)
def test_changes_do_not_depend_on_the_unit(series: Sequence[int], factor: int) -> None:
    assert [c.at for c in changes(series)] == [c.at for c in changes([v * factor for v in series])]


def test_flags_and_values_go_together() -> None:
    with pytest.raises(ValueError, match="2 values and 1 flags"):
        Sample.of([1, 2], [True])
