"""Evidence that may be looked at after every pair: fair, whatever the differences are like."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st
from stored_runs import given, store_trial

from harness.results import RunWriter, read_run
from harness.results.comparison import Comparison, compare_in_sequence
from harness.results.comparison_sides import sides_by_engine
from harness.results.statistics import ALPHA, MATERIAL, MeasurePair, Sample, judge_in_sequence
from harness.results.statistics.sequential import FEWEST_PAIRS, adjusted_evidence, evidence
from harness.results.statistics.simulation import DISTRIBUTIONS, sequential_rates

SIZES = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=6)


def every_sign(sizes: list[float]) -> list[Sample]:
    """All outcomes that equal engines give with the same chance: each pair one way or the other."""
    return [
        Sample.of(size * sign for size, sign in zip(sizes, signs, strict=True))
        for signs in product((1, -1), repeat=len(sizes))
    ]


@given_(SIZES)
@settings(deadline=None, max_examples=30)
def test_the_bet_is_fair_whatever_the_differences(sizes: list[float]) -> None:
    nothing = Sample.of([0.0] * len(sizes))
    grown = [evidence(nothing, found)[-1] for found in every_sign(sizes)]
    assert np.mean(grown) == pytest.approx(1.0)


@given_(SIZES)
@settings(deadline=None, max_examples=30)
def test_it_ever_reaches_twenty_in_at_most_one_of_twenty(sizes: list[float]) -> None:
    nothing = Sample.of([0.0] * len(sizes))
    ever = [evidence(nothing, found).max() >= 1 / ALPHA for found in every_sign(sizes)]
    assert np.mean(ever) <= ALPHA


def test_longer_than_counts_only_where_the_sign_is_known() -> None:
    longer = Sample.of([5.0], [True])
    assert evidence(Sample.of([9.0]), longer)[-1] == 1.0  # perhaps 10, perhaps 6
    assert evidence(longer, longer)[-1] == 1.0
    assert evidence(Sample.of([3.0]), longer)[-1] == evidence(Sample.of([3.0]), Sample.of([5.0]))[0]


def test_pairs_are_of_one_length() -> None:
    with pytest.raises(ValueError, match="2 and 1 values are not pairs"):
        evidence(Sample.of([1.0, 2.0]), Sample.of([1.0]))


def test_evidence_is_corrected_for_the_number_of_measures() -> None:
    assert adjusted_evidence([20.0]) == [0.05]
    assert adjusted_evidence([1.0, 40.0]) == [1.0, 0.05]
    # Two of four that are strong need half of what one alone would.
    assert adjusted_evidence([40.0, 1.0, 40.0, 1.0]) == [0.05, 1.0, 0.05, 1.0]


def judged(baseline: list[float], candidate: list[float]) -> str:
    [result] = judge_in_sequence([MeasurePair(Sample.of(baseline), Sample.of(candidate))])
    return result.judgement.outcome


def test_a_clear_difference_is_decided_and_a_few_pairs_decide_nothing() -> None:
    slow = [20 + n / 10 for n in range(12)]
    fast = [10 + n / 10 for n in range(12)]
    assert judged(fast, slow) == "regressed"
    assert judged(slow, fast) == "improved"
    few = FEWEST_PAIRS - 1
    assert judged(fast[:few], fast[1 : few + 1]) == "inconclusive"
    assert judged([1.0, 2.0] * few, [2.0, 1.0] * few) == "within noise"


def test_a_lean_that_may_become_a_difference_is_not_called_noise() -> None:
    [result] = judge_in_sequence(
        [MeasurePair(Sample.of([10.0, 13.0] * 3), Sample.of([11.0, 14.0] * 3))]
    )
    assert result.judgement.outcome == "inconclusive"
    assert "evidence" in result.judgement.reason


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_looking_after_every_pair_raises_no_more_false_alarms_than_promised(name: str) -> None:
    """400 series of 60 pairs, watched to the end: of a true 5 %, 7.2 % is seen once in 40 tries."""
    law, rng = DISTRIBUTIONS[name], np.random.default_rng(7)
    ever = [evidence(law.sample(rng, 60), law.sample(rng, 60)).max() for _ in range(400)]
    assert np.mean(np.asarray(ever) >= 1 / ALPHA) <= ALPHA + 0.022


def test_among_ten_measures_a_false_alarm_is_no_likelier_and_sameness_is_said_soon() -> None:
    found = sequential_rates(DISTRIBUTIONS["normal"], measures=10, series=25)
    assert found.alarms <= ALPHA + 0.07
    assert found.pairs < 12


@pytest.mark.parametrize("name", ["normal", "cut_off", "counts"])
def test_the_stated_minimum_effect_is_found_and_hardly_ever_called_noise(name: str) -> None:
    found = sequential_rates(DISTRIBUTIONS[name], measures=10, effect=MATERIAL, series=10)
    assert found.found >= 0.8
    assert found.pairs < 25


def compared(root: Path, *, unpaired: bool = False) -> Comparison:
    writer = RunWriter.create(root, command=[], harness="1")
    for seed in range(1, 13):
        for version, value in (("20.10.5", 10.0), ("28.5.2", 20.0)):
            if unpaired and seed == 5 and version == "28.5.2":
                continue
            inputs = given(version, seed=seed)
            store_trial(writer, inputs, {"time to a new leader": value + seed / 10}, limit=99.0)
    return compare_in_sequence(sides_by_engine([read_run(writer.folder)]), by="engine")


def test_trials_of_one_seed_are_pairs(tmp_path: Path) -> None:
    comparison = compared(tmp_path)
    [pairing] = comparison.pairings
    assert comparison.sequential
    assert [f.outcome for f in pairing.findings] == ["regressed", "same"]
    assert not pairing.left_out


def test_a_trial_without_its_other_half_is_left_out_and_said_so(tmp_path: Path) -> None:
    [pairing] = compared(tmp_path, unpaired=True).pairings
    assert {len(f.baseline.values) for f in pairing.findings} == {11}
    assert any("1 trial whose seed the other side lacks" in said for said in pairing.left_out)
