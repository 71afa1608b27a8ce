"""The sides of a comparison: runs, or the engines within them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.results.run import Run, StoredTrial
from harness.results.usable import is_usable
from harness.results.versions import by_version


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a run, or all trials of one engine version.

    ``damaged`` counts the trials that could not be read.
    """

    name: str
    trials: tuple[StoredTrial, ...]
    damaged: int = 0

    @property
    def unusable(self) -> int:
        """How many trials, controls aside, have measures that cannot be used."""
        records = (trial.record for trial in self.trials)
        return sum(not (record.inputs.control or is_usable(record)) for record in records)

    @property
    def unknown(self) -> int:
        """How many trials, controls aside, have no verdict, damaged ones included."""
        records = (trial.record for trial in self.trials)
        return self.damaged + sum(
            not record.inputs.control and record.verdict == "unknown" for record in records
        )


def sides_by_run(runs: Sequence[Run]) -> list[Side]:
    """Return a side per run, in the order given; runs of the same name are numbered."""
    names = _distinct([run.record.id for run in runs])
    return [Side(name, run.trials, len(run.damaged)) for name, run in zip(names, runs, strict=True)]


def sides_by_engine(runs: Sequence[Run], *, baseline: str | None = None) -> list[Side]:
    """Return a side per engine version over all ``runs``: ``baseline``, then the oldest first.

    Raises :class:`UsageError` if no trial ran on ``baseline``.
    """
    groups: dict[str, list[StoredTrial]] = {}
    for run in runs:
        for trial in run.trials:
            groups.setdefault(trial.record.inputs.engine.version, []).append(trial)
    versions = sorted(groups, key=by_version)
    if baseline is not None:
        if baseline not in groups:
            raise UsageError(
                f"no trial ran on engine {baseline}",
                hint=f"engines in these runs: {', '.join(versions) or 'none'}",
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


def with_scenarios(side: Side, text: str) -> Side:
    """Return the side with only the trials whose scenario id contains ``text``."""
    kept = tuple(trial for trial in side.trials if text in trial.record.inputs.scenario)
    return Side(side.name, kept, side.damaged)
