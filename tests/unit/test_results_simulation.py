"""Comparisons keep what is promised of them, on simulated trials with a known truth.

`swarm-chaos bench statistics` does the same at length; here it is seeded and short.
"""

from __future__ import annotations

import pytest

from harness.bench.statistics import metrics
from harness.results.statistics import MATERIAL, RECOMMENDED
from harness.results.statistics.simulation import (
    DISTRIBUTIONS,
    change_rates,
    rates,
)

# With 100 comparisons, one in twenty is seen more than 9 times in one of fifty tries.
PROMISED, LUCK = 0.05, 0.04


def settings(name: str) -> dict[str, int]:
    # Shares are drawn again a thousand times each: fewer comparisons do.
    return {
        "trials": RECOMMENDED[10],
        "measures": 10,
        "comparisons": 40 if name == "shares" else 100,
    }


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_where_nothing_differs_hardly_anything_is_told(name: str) -> None:
    found = rates(DISTRIBUTIONS[name], **settings(name))
    assert found.alarms <= PROMISED + LUCK


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_stated_minimum_effect_is_found_at_the_recommended_number_of_trials(name: str) -> None:
    found = rates(DISTRIBUTIONS[name], effect=MATERIAL, **settings(name))
    assert found.found >= 0.9
    assert found.wrong_way == 0.0
    assert found.false <= PROMISED + LUCK


@pytest.mark.parametrize("name", ["election", "cut_off"])
def test_an_improvement_is_found_as_well(name: str) -> None:
    found = rates(DISTRIBUTIONS[name], effect=-MATERIAL, **settings(name))
    assert found.found >= 0.9


@pytest.mark.parametrize("name", ["normal", "cut_off"])
def test_a_history_without_a_change_has_none_and_one_with_it_has_it(name: str) -> None:
    assert change_rates(DISTRIBUTIONS[name], runs=40, histories=60)[0] <= 0.05
    told, near = change_rates(DISTRIBUTIONS[name], runs=40, effect=MATERIAL, histories=60)
    assert told >= 0.9
    assert near >= 0.6


def test_too_few_trials_find_nothing_rather_than_anything() -> None:
    found = rates(DISTRIBUTIONS["normal"], trials=3, measures=5, effect=MATERIAL, comparisons=50)
    assert (found.alarms, found.found) == (0.0, 0.0)


def test_the_bench_prints_a_figure_of_each_kind_for_every_law() -> None:
    first = next(metrics(20))
    assert first.name == "statistics.normal.10measures.16trials.false_alarm"
    assert 0 <= first.value <= 0.2
    assert first.unit == "1"
