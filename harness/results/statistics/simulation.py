"""Simulated trials with a known effect, to measure the error rates of the judgements.

Each distribution is one that a measure of a swarm follows: a failover that takes 10 to 20 ticks,
latencies with a long tail, observation that ends before the state is reached, shares that are
zero in some trials, small counts. ``effect`` shifts a side by that many standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.results.statistics.changes import changes
from harness.results.statistics.judgement import ALPHA
from harness.results.statistics.multiple_testing import MeasurePair, judge_all
from harness.results.statistics.sample import Floats, Sample
from harness.results.statistics.sequential import (
    adjusted_evidence,
    evidence,
    judge_in_sequence,
)

Draw = Callable[[np.random.Generator, int], Floats]


@dataclass(frozen=True)
class Distribution:
    """How one measure varies from trial to trial; observation ends at ``ends``."""

    draw: Draw
    deviation: float
    ends: float | None = None
    share: bool = False

    def sample(self, rng: np.random.Generator, trials: int, effect: float = 0.0) -> Sample:
        """Draw ``trials`` values, shifted by ``effect`` standard deviations."""
        values = self.draw(rng, trials) + effect * self.deviation
        if self.ends is None:
            return Sample.of(np.round(values, 6))
        censored = values > self.ends
        return Sample.of(np.where(censored, self.ends, values), censored.tolist())


def _zeros_and_shares(rng: np.random.Generator, trials: int) -> Floats:
    return np.asarray(rng.beta(2, 60, trials) * (rng.random(trials) < 0.7), dtype=np.float64)


DISTRIBUTIONS: Mapping[str, Distribution] = {
    "normal": Distribution(lambda rng, n: rng.normal(20, 2, n), 2.0),
    "election": Distribution(lambda rng, n: rng.uniform(10, 20, n), 10 / 12**0.5),
    "long_tail": Distribution(lambda rng, n: rng.lognormal(1, 0.5, n), 1.6427),
    "cut_off": Distribution(lambda rng, n: rng.uniform(10, 20, n), 10 / 12**0.5, ends=19.0),
    "counts": Distribution(lambda rng, n: rng.poisson(4, n).astype(np.float64), 2.0),
    "shares": Distribution(_zeros_and_shares, 0.02356, share=True),
}
"""Standard deviations: of the long tail sqrt((e^s - 1) e^(2m + s)) with m = 1, s = 0.25; of the
shares sqrt(0.7 E[x^2] - (0.7 E[x])^2) for x from beta(2, 60)."""


@dataclass(frozen=True)
class Rates:
    """Error rates over many simulated comparisons, as shares of them.

    ``alarms``: a difference was reported for a measure that has none; ``false``: the mean share
    of such reports among all; ``found``: the measure that differs had the right outcome;
    ``wrong_way``: it had the opposite one.
    """

    comparisons: int
    alarms: float
    false: float
    found: float
    wrong_way: float


def rates(
    distribution: Distribution,
    *,
    trials: int,
    measures: int = 1,
    effect: float = 0.0,
    comparisons: int = 200,
    seed: int = 1,
) -> Rates:
    """Compare simulated sides of ``trials`` each; the first measure is shifted by ``effect``."""
    rng = np.random.default_rng([seed, trials, measures])
    alarms = found = wrong = 0
    false = 0.0
    for _ in range(comparisons):
        pairs = [
            MeasurePair(
                distribution.sample(rng, trials),
                distribution.sample(rng, trials, effect if number == 0 else 0.0),
                share=distribution.share,
            )
            for number in range(measures)
        ]
        outcomes = [result.judgement.outcome for result in judge_all(pairs)]
        reported = [outcome in {"regressed", "improved"} for outcome in outcomes]
        untrue = reported[1:] if effect else reported
        alarms += any(untrue)
        false += sum(untrue) / max(1, sum(reported))
        found += bool(effect) and outcomes[0] == ("regressed" if effect > 0 else "improved")
        wrong += bool(effect) and outcomes[0] == ("improved" if effect > 0 else "regressed")
    ends = (alarms, false, found, wrong)
    return Rates(comparisons, *(end / comparisons for end in ends))


@dataclass(frozen=True)
class SequentialRates:
    """Error rates of series that are looked at after every pair, as shares of them.

    ``alarms``: a difference was reported for a measure that has none, at any look; ``found``: the
    measure that differs had the right outcome at the end; ``pairs``: the mean number of pairs until
    it was decided.
    """

    alarms: float
    found: float
    pairs: float


def sequential_rates(
    distribution: Distribution,
    *,
    measures: int = 1,
    most: int = 60,
    effect: float = 0.0,
    series: int = 200,
    seed: int = 1,
) -> SequentialRates:
    """Simulate series of up to ``most`` pairs; the first measure is shifted by ``effect``.

    Each is watched to the end for false alarms, as if nothing ended it; the first measure counts
    as decided at the first look at which it is.
    """
    rng = np.random.default_rng([seed, most, measures])
    alarms = found = pairs = 0
    for _ in range(series):
        sides = [
            MeasurePair(
                distribution.sample(rng, most),
                distribution.sample(rng, most, effect if number == 0 else 0.0),
                share=distribution.share,
            )
            for number in range(measures)
        ]
        grown = np.asarray([evidence(pair.baseline, pair.candidate) for pair in sides])
        corrected = np.asarray([adjusted_evidence(look) for look in grown.T])
        alarms += bool((corrected[:, 1 if effect else 0 :] <= ALPHA).any())
        outcome, looks = "inconclusive", 1
        while outcome == "inconclusive" and looks < most:
            looks += 1
            outcome = judge_in_sequence([_first(pair, looks) for pair in sides])[
                0
            ].judgement.outcome
        found += outcome == ("regressed" if effect > 0 else "improved")
        pairs += looks
    return SequentialRates(alarms / series, found / series, pairs / series)


def _first(pair: MeasurePair, count: int) -> MeasurePair:
    """Return the first ``count`` pairs of a series."""
    baseline, candidate = (
        Sample(side.values[:count], side.censored[:count])
        for side in (pair.baseline, pair.candidate)
    )
    return MeasurePair(baseline, candidate, share=pair.share)


def change_rates(
    distribution: Distribution,
    *,
    runs: int,
    effect: float = 0.0,
    histories: int = 200,
    seed: int = 1,
) -> tuple[float, float]:
    """Return the shares of histories with any change reported, and with one at the right run.

    Values shift by ``effect`` standard deviations in the middle; one run off still counts.
    """
    rng = np.random.default_rng([seed, runs])
    changed = near = 0
    for _ in range(histories):
        before = distribution.sample(rng, runs // 2).values
        after = distribution.sample(rng, runs - runs // 2, effect).values
        found = changes((*before, *after))
        changed += bool(found)
        near += any(abs(change.at - runs // 2) <= 1 for change in found)
    return changed / histories, near / histories
