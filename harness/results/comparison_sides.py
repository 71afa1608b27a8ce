"""What is compared: whole runs, or the engines within them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.results.run import Run, StoredTrial
from harness.results.versions import by_version


@dataclass(frozen=True)
class Side:
    """One of the things compared: its name and its trials."""

    name: str
    trials: tuple[StoredTrial, ...]
    damaged: int = 0


def sides_by_run(runs: Sequence[Run]) -> list[Side]:
    """A side per run, in their order; runs of one name get a number."""
    names = _distinct([run.record.id for run in runs])
    return [Side(name, run.trials, len(run.damaged)) for name, run in zip(names, runs, strict=True)]


def sides_by_engine(runs: Sequence[Run], *, baseline: str | None = None) -> list[Side]:
    """A side per engine version over all ``runs``, the oldest first, or ``baseline`` before it.

    Raises :class:`UsageError` for a baseline that did not run.
    """
    groups: dict[str, list[StoredTrial]] = {}
    for run in runs:
        for trial in run.trials:
            groups.setdefault(trial.record.inputs.engine.version, []).append(trial)
    versions = sorted(groups, key=by_version)
    if baseline is not None:
        if baseline not in groups:
            raise UsageError(
                f"engine {baseline} did not run",
                hint=f"engines that did: {', '.join(versions) or 'none'}",
            )
        versions.remove(baseline)
        versions.insert(0, baseline)
    return [Side(version, tuple(groups[version])) for version in versions]


def _distinct(names: Sequence[str]) -> list[str]:
    taken: Counter[str] = Counter()
    distinct = []
    for name in names:
        taken[name] += 1
        distinct.append(name if taken[name] == 1 else f"{name} ({taken[name]})")
    return distinct


def limited(side: Side, text: str) -> Side:
    """A side's trials of scenarios that have ``text`` in their id."""
    kept = tuple(trial for trial in side.trials if text in trial.record.inputs.scenario)
    return Side(side.name, kept, side.damaged)
