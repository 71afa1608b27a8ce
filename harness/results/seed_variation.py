"""Whether a scenario's measures vary with the seed: trials that are copies are one observation."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.results.comparable import Group
from harness.trial import Measure

#: Trials below which nothing is said.
_FEWEST = 4

#: A measure hardly varies if all its values lie within this share of their median,
_SAME = 0.005

#: or if it has so few different values for its trials (to a millisecond).
_DISTINCT = 0.5


def hardly_varies(group: Group) -> str:
    """Return why the trials of a group are hardly more than one, in a sentence; "" if they are.

    Looked at are times in seconds, which are continuous: counts and shares may well be the same.
    Times that were not reached are the same by their bound, and are left out.
    """
    seeds = {trial.record.inputs.seed for trial in group.trials}
    times = [
        values
        for measures in group.measures.values()
        if len(values := _times(measures)) >= _FEWEST and any(values)
    ]
    if len(seeds) < _FEWEST or not times or any(map(_varies, times)):
        return ""
    return (
        f"its times hardly vary with the seed: {len(group.trials)} trials are little more than one "
        "observation"
    )


def _times(measures: Sequence[Measure]) -> list[float]:
    return [m.value for m in measures if m.unit == "s" and m.value is not None and not m.censored]


def _varies(values: Sequence[float]) -> bool:
    distinct = len({round(value, 3) for value in values}) / len(values)
    return distinct > _DISTINCT and max(values) - min(values) > _SAME * abs(median(values))
