"""``swarm-chaos bench statistics``: whether comparisons keep what is promised of them.

Sides are simulated with a known truth (:mod:`harness.results.statistics.simulation`). Shares of
comparisons are printed, so a value that is to be below 0.05 may be a little above it by the luck
of so many draws: with 400, by 0.02.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from harness.bench.metric import Figure, show
from harness.results.statistics import MATERIAL
from harness.results.statistics.simulation import DISTRIBUTIONS, change_rates, rates

RECOMMENDED = {10: 16, 50: 20}
"""Measures compared at once, and the trials of each side that the documents recommend."""

HISTORY = 40
"""Nightly runs in the histories that are simulated."""


def figures(comparisons: int, *, seed: int = 1) -> Iterator[Figure]:
    """False alarms and power by distribution, measures and trials; then of change points."""
    for measures, trials in RECOMMENDED.items():
        for name, distribution in DISTRIBUTIONS.items():
            # Comparisons of many measures take longer, and say as much.
            count = max(20, comparisons * 10 // measures)
            settings = {"trials": trials, "measures": measures, "comparisons": count, "seed": seed}
            none = rates(distribution, **settings)
            some = rates(distribution, effect=MATERIAL, **settings)
            head = f"statistics.{name}.{measures}measures.{trials}trials"
            yield Figure(f"{head}.false_alarm", round(none.alarms, 4), "1")
            yield Figure(f"{head}.found", round(some.found, 4), "1")
            yield Figure(f"{head}.false_share", round(some.false, 4), "1")
    for name, distribution in DISTRIBUTIONS.items():
        told, _ = change_rates(distribution, runs=HISTORY, histories=comparisons, seed=seed)
        found, near = change_rates(
            distribution, runs=HISTORY, effect=MATERIAL, histories=comparisons, seed=seed
        )
        head = f"statistics.{name}.history{HISTORY}"
        yield Figure(f"{head}.false_alarm", round(told, 4), "1")
        yield Figure(f"{head}.found", round(found, 4), "1")
        yield Figure(f"{head}.found_within_one_run", round(near, 4), "1")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--comparisons",
    default=400,
    show_default=True,
    type=click.IntRange(min=20),
    help="Simulated, of ten measures each.",
)
@click.option("--seed", default=1, show_default=True, help="Of all that is drawn.")
def statistics(as_json: bool, comparisons: int, seed: int) -> None:
    """How often comparisons see what is not there, and what is, on simulated trials."""
    show(figures(comparisons, seed=seed), as_json=as_json)
