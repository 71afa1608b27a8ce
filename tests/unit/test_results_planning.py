"""The estimate of how many trials would decide: from few trials it is rough, but of use."""

from __future__ import annotations

import numpy as np
import pytest

from harness.results.statistics import (
    RECOMMENDED,
    Sample,
    contrast,
    judge_contrast,
    trials_to_decide,
)
from harness.results.statistics.planning import MOST
from harness.results.statistics.simulation import DISTRIBUTIONS

START = 5


def first(sample: Sample, count: int) -> Sample:
    return Sample(sample.values[:count], sample.censored[:count])


@pytest.mark.parametrize("name", ["normal", "election", "long_tail", "counts"])
def test_most_of_what_was_undecided_is_decided_by_then(name: str) -> None:
    law, rng = DISTRIBUTIONS[name], np.random.default_rng(11)
    floor = law.deviation / 5
    decided = []
    for effect in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        for _ in range(10):
            baseline, candidate = law.sample(rng, 60), law.sample(rng, 60, effect)

            def outcome(trials: int, a: Sample = baseline, b: Sample = candidate) -> str:
                found = contrast(first(a, trials), first(b, trials))
                return judge_contrast(
                    found, better="lower", floor=floor, adjusted=min(1.0, 10 * found.p), measures=10
                ).outcome

            if outcome(START) != "inconclusive":
                continue
            found = contrast(first(baseline, START), first(candidate, START))
            needed = trials_to_decide(found, trials=START, floor=floor, measures=10)
            assert needed > START
            decided.append(outcome(min(60, needed)) != "inconclusive")
    assert len(decided) >= 20
    assert np.mean(decided) >= 0.55


def test_one_trial_says_nothing_of_the_spread_so_the_recommended_number_is_said() -> None:
    found = contrast(Sample.of([1.0]), Sample.of([2.0]))
    assert trials_to_decide(found, trials=1, floor=0.1, measures=3) == RECOMMENDED[10]
    assert trials_to_decide(found, trials=1, floor=0.1, measures=60) == RECOMMENDED[50]


def test_what_lies_at_the_edge_of_noise_has_no_estimate_without_an_end() -> None:
    found = contrast(Sample.of([0.0, 4.0, 0.0, 4.0]), Sample.of([0.0, 4.0, 4.0, 0.0]))
    assert trials_to_decide(found, trials=4, floor=1e-9, measures=1) <= MOST
