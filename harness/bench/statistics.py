"""Whether comparisons have the error rates that the documents promise.

Sides are simulated with a known truth (:mod:`harness.results.statistics.simulation`). The values
are shares of comparisons, so one that should be below 0.05 may be above it by chance: with 400
comparisons, by 0.02.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.bench.metric import Metric
from harness.results.statistics import MATERIAL, RECOMMENDED
from harness.results.statistics.simulation import (
    DISTRIBUTIONS,
    change_rates,
    rates,
    sequential_rates,
)

HISTORY = 40
"""Nightly runs in the histories that are simulated."""

MOST_PAIRS = 60
"""Pairs of trials after which a simulated series is given up."""


def metrics(comparisons: int, *, seed: int = 1) -> Iterator[Metric]:
    """False alarms and power by distribution, measures and trials; then of change points."""
    for measures, trials in RECOMMENDED.items():
        for name, distribution in DISTRIBUTIONS.items():
            # Comparisons of many measures take longer, and say as much.
            count = max(20, comparisons * 10 // measures)
            settings = {"trials": trials, "measures": measures, "comparisons": count, "seed": seed}
            none = rates(distribution, **settings)
            some = rates(distribution, effect=MATERIAL, **settings)
            head = f"statistics.{name}.{measures}measures.{trials}trials"
            yield Metric(f"{head}.false_alarm", round(none.alarms, 4), "1")
            yield Metric(f"{head}.found", round(some.found, 4), "1")
            yield Metric(f"{head}.false_share", round(some.false, 4), "1")
    for name, distribution in DISTRIBUTIONS.items():
        reported, _ = change_rates(distribution, runs=HISTORY, histories=comparisons, seed=seed)
        found, near = change_rates(
            distribution, runs=HISTORY, effect=MATERIAL, histories=comparisons, seed=seed
        )
        head = f"statistics.{name}.history{HISTORY}"
        yield Metric(f"{head}.false_alarm", round(reported, 4), "1")
        yield Metric(f"{head}.found", round(found, 4), "1")
        yield Metric(f"{head}.found_within_one_run", round(near, 4), "1")
    for name, distribution in DISTRIBUTIONS.items():
        series = {"measures": 10, "most": MOST_PAIRS, "series": comparisons, "seed": seed}
        same = sequential_rates(distribution, **series)
        apart = sequential_rates(distribution, effect=MATERIAL, **series)
        head = f"statistics.{name}.sequential"
        yield Metric(f"{head}.false_alarm", round(same.alarms, 4), "1")
        yield Metric(f"{head}.pairs_without_effect", round(same.pairs, 1), "1")
        yield Metric(f"{head}.found", round(apart.found, 4), "1")
        yield Metric(f"{head}.pairs", round(apart.pairs, 1), "1")
