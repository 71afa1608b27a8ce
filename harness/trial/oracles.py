"""What is held against every trial, whatever its scenario measures, by the measures' names.

They are bounds like any other: a broken one fails the trial. But they hold in a trial that looked
at nothing, so they are no sign that a scenario has measured anything (:func:`of_the_scenario`).
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.trial.measure import Measure

DIED_UNASKED = "dockerds that died unasked"
PANICS = "panics in dockerds' logs"

NAMES = frozenset({DIED_UNASKED, PANICS})


def of_the_scenario(measures: Iterable[Measure]) -> list[Measure]:
    """Return the measures that the scenario itself has taken."""
    return [measure for measure in measures if measure.name not in NAMES]


def broken_oracles(measures: Iterable[Measure]) -> list[Measure]:
    """Return the measures of every trial whose bound does not hold."""
    return [measure for measure in measures if measure.name in NAMES and measure.ok is False]
