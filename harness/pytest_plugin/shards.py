"""``--shard 2/5``: one of several machines runs its part of the scenarios, and the parts are all.

Machines agree without talking to one another: each collects all items and keeps its own. With
``--shard-times RUN`` parts take about equally long, as the trials of that run did; every
machine has to be given the same run. ``swarm-chaos results merge`` makes one run of the parts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest

from harness.errors import UsageError
from harness.pytest_plugin.markers import is_scenario, scenario_id

_WRITTEN = re.compile(r"([1-9]\d*)/([1-9]\d*)")


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``of`` parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, written: str) -> Shard:
        """Read ``2/5``; :class:`UsageError` for anything else."""
        match = _WRITTEN.fullmatch(written.strip())
        if match is None or int(match[1]) > int(match[2]):
            raise UsageError(
                f"--shard {written!r} is not a part of a whole",
                hint="give one like 2/5: the second of five",
            )
        return cls(int(match[1]), int(match[2]))


def assign(costs: Sequence[float], parts: int) -> list[int]:
    """Return each item's part, from 1: the dearest first, each to the part with the least to do."""
    loads = [0.0] * parts
    found = [0] * len(costs)
    for index in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        part = min(range(parts), key=lambda part: (loads[part], part))
        loads[part] += costs[index]
        found[index] = part + 1
    return found


def costs_of(scenarios: Sequence[str], seconds: Mapping[str, float]) -> list[float]:
    """Return what each scenario costs; one that has not been timed costs what others do."""
    usual = fmean(seconds.values()) if seconds else 1.0
    return [seconds.get(scenario, usual) for scenario in scenarios]


def seconds_in(run: Path) -> dict[str, float]:
    """Return how long the trials of each scenario took in a stored run, on their own clock."""
    from harness.results import read_run

    times: dict[str, list[float]] = defaultdict(list)
    for trial in read_run(run).trials:
        times[trial.record.inputs.scenario].append(trial.record.seconds)
    return {scenario: fmean(each) for scenario, each in times.items()}


class ShardFilter:
    """Keeps this machine's part of what all other choices have left. A plugin of pytest."""

    def __init__(self, shard: Shard, seconds: Mapping[str, float]) -> None:
        self._shard = shard
        self._seconds = seconds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave the other machines' items out."""
        scenarios = [scenario_id(item) if is_scenario(item) else item.nodeid for item in items]
        parts = assign(costs_of(scenarios, self._seconds), self._shard.of)
        own = [part == self._shard.number for part in parts]
        others = [item for item, mine in zip(items, own, strict=True) if not mine]
        if others:
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item, mine in zip(items, own, strict=True) if mine]


def shard_filter(config: pytest.Config) -> ShardFilter | None:
    """Return what ``--shard`` and ``--shard-times`` ask for; :class:`UsageError` for nonsense."""
    written, run = config.getoption("--shard"), config.getoption("--shard-times")
    if written is None:
        if run is not None:
            raise UsageError("--shard-times without --shard", hint="give one like --shard 2/5")
        return None
    shard = Shard.parse(written)
    return ShardFilter(shard, seconds_in(Path(config.invocation_params.dir, run)) if run else {})
