"""Simulated trials with a known truth, to hold the judgements against what is promised of them.

Each law is one that a measure of a swarm follows: a failover that takes between 10 and 20 ticks,
latencies with a long tail, watching that ends before the state comes, shares that are zero in some
trials, small counts. ``effect`` moves a side by so many standard deviations of its law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.results.statistics.changes import changes
from harness.results.statistics.judgement import Word
from harness.results.statistics.multiple_testing import Question, answer
from harness.results.statistics.sample import Floats, Sample

Draw = Callable[[np.random.Generator, int], Floats]


@dataclass(frozen=True)
class Law:
    """How one measure varies from trial to trial. ``ends``: where watching ends."""

    draw: Draw
    deviation: float
    ends: float | None = None
    share: bool = False

    def sample(self, rng: np.random.Generator, trials: int, effect: float = 0.0) -> Sample:
        """So many trials, moved by ``effect`` deviations."""
        values = self.draw(rng, trials) + effect * self.deviation
        if self.ends is None:
            return Sample.of(np.round(values, 6))
        beyond = values > self.ends
        return Sample.of(np.where(beyond, self.ends, values), beyond.tolist())


def _zeros_and_shares(rng: np.random.Generator, trials: int) -> Floats:
    return np.asarray(rng.beta(2, 60, trials) * (rng.random(trials) < 0.7), dtype=np.float64)


LAWS: Mapping[str, Law] = {
    "normal": Law(lambda rng, n: rng.normal(20, 2, n), 2.0),
    "election": Law(lambda rng, n: rng.uniform(10, 20, n), 10 / 12**0.5),
    "long_tail": Law(lambda rng, n: rng.lognormal(1, 0.5, n), 1.6427),
    "cut_off": Law(lambda rng, n: rng.uniform(10, 20, n), 10 / 12**0.5, ends=19.0),
    "counts": Law(lambda rng, n: rng.poisson(4, n).astype(np.float64), 2.0),
    "shares": Law(_zeros_and_shares, 0.02356, share=True),
}
"""Deviations of the long tail and of the shares are of the law: sqrt((e^s - 1) e^(2m + s)) with
m = 1, s = 0.25; sqrt(0.7 E[x^2] - (0.7 E[x])^2) for x after beta(2, 60)."""


@dataclass(frozen=True)
class Rates:
    """Of many simulated comparisons, the shares that ended in each way.

    ``alarms``: a difference was told of a measure that has none; ``false``: the mean share of such
    among all that was told; ``found``: the one that differs was called by the right word;
    ``wrong_way``: by the opposite one.
    """

    comparisons: int
    alarms: float
    false: float
    found: float
    wrong_way: float


def rates(
    law: Law,
    *,
    trials: int,
    measures: int = 1,
    effect: float = 0.0,
    comparisons: int = 200,
    seed: int = 1,
) -> Rates:
    """Compare simulated sides of ``trials`` each; the first of the measures gets ``effect``."""
    rng = np.random.default_rng([seed, trials, measures])
    alarms = found = wrong = 0
    false = 0.0
    for _ in range(comparisons):
        questions = [
            Question(
                law.sample(rng, trials),
                law.sample(rng, trials, effect if number == 0 else 0.0),
                share=law.share,
            )
            for number in range(measures)
        ]
        words: list[Word] = [given.judgement.word for given in answer(questions)]
        told = [word in {"regressed", "improved"} for word in words]
        untrue = told[1:] if effect else told
        alarms += any(untrue)
        false += sum(untrue) / max(1, sum(told))
        found += bool(effect) and words[0] == ("regressed" if effect > 0 else "improved")
        wrong += bool(effect) and words[0] == ("improved" if effect > 0 else "regressed")
    ends = (alarms, false, found, wrong)
    return Rates(comparisons, *(end / comparisons for end in ends))


def change_rates(
    law: Law, *, runs: int, effect: float = 0.0, histories: int = 200, seed: int = 1
) -> tuple[float, float]:
    """Of simulated histories, the share in which a change is told, and within one run of where.

    The law's values move by ``effect`` deviations from the middle on.
    """
    rng = np.random.default_rng([seed, runs])
    told = near = 0
    for _ in range(histories):
        before = law.sample(rng, runs // 2).values
        after = law.sample(rng, runs - runs // 2, effect).values
        found = changes((*before, *after))
        told += bool(found)
        near += any(abs(change.at - runs // 2) <= 1 for change in found)
    return told / histories, near / histories
