"""Like with like: the trials of a side by all that has to be equal for figures to be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.results.comparison_sides import Side
from harness.results.run import StoredTrial
from harness.trial import Measure, TrialInputs, TrialRecord, judge

FAILED = "trials that fail"
"""A measure that every trial with a verdict has: 1 if it failed, 0 if it passed."""


class Setting(NamedTuple):
    """What has to be equal for figures to be comparable."""

    scenario: str
    engine: str
    topology: str
    lab: str
    clock: str
    options: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        engine = f"engine {self.engine}, " if self.engine else ""
        options = "".join(f", {key}={value}" for key, value in self.options)
        return f"{engine}{self.topology}, {self.lab} lab, {self.clock} time{options}"


@dataclass
class Group:
    """The trials of one side in one setting, and what they measured."""

    trials: list[StoredTrial] = field(default_factory=list)
    measures: dict[str, list[Measure]] = field(default_factory=dict)

    def add(self, trial: StoredTrial) -> None:
        """Take a trial in, its measures and whether it failed."""
        self.trials.append(trial)
        verdict = trial.record.verdict
        failed = [Measure(FAILED, float(verdict == "fail"), "1")] if verdict != "unknown" else []
        for measure in (*failed, *trial.record.measures):
            self.measures.setdefault(measure.name, []).append(measure)

    @property
    def fingerprint(self) -> frozenset[tuple[int, str]]:
        """Seeds and digests: equal for groups that are equal to the byte."""
        return frozenset((t.record.inputs.seed, t.record.digest) for t in self.trials)


def is_believed(record: TrialRecord) -> bool:
    """Whether what a trial measured counts, its verdict being known or not.

    Of a trial in doubt nothing counts. One that is unknown only because a measure is undecided
    ("longer than 30 s", held against 45 s) counts: it is the slow trials that end so, and leaving
    them out would make the rest look fast.
    """
    if record.verdict != "unknown":
        return True
    return (record.verdict, record.reason) == judge(None, record.measures, ())


def group(side: Side, named: bool, left_out: list[str]) -> dict[Setting, Group]:
    """The trials of a side by setting, engines kept apart if ``named``; appends to ``left_out``."""
    groups: dict[Setting, Group] = {}
    unknown = controls = again = 0
    seen = set()
    for trial in side.trials:
        given = trial.record.inputs
        if given.control:
            controls += 1
            continue
        if not is_believed(trial.record):
            unknown += 1
            continue
        setting = _setting(given, named)
        same = (setting, given.engine.version, given.seed, trial.record.digest)
        if given.clock == "virtual" and trial.record.digest and same in seen:
            again += 1
            continue
        seen.add(same)
        groups.setdefault(setting, Group()).add(trial)
    for count, why in (
        (unknown, "in doubt: what they measured condemns nobody"),
        (controls, "controls: swarms broken on purpose"),
        (again, "in virtual time again, identical to the byte: counted once"),
        (side.damaged, "damaged or unfinished: cannot be read"),
    ):
        if count:
            left_out.append(f"{side.name}: {count} {_trials(count)} left out ({why})")
    return groups


def _setting(given: TrialInputs, named: bool) -> Setting:
    return Setting(
        given.scenario,
        given.engine.version if named else "",
        given.topology,
        given.lab,
        given.clock,
        tuple(sorted(given.options.items())),
    )


def several_engines(sides: Iterable[Side]) -> bool:
    """Whether a side has trials of several engines: then each is compared to its own."""
    return any(len({t.record.inputs.engine.version for t in side.trials}) > 1 for side in sides)


def unmatched(
    first: str, second: str, ours: Mapping[Setting, Group], theirs: Mapping[Setting, Group]
) -> Iterable[str]:
    """What only one of the sides has, in sentences."""
    for name, other, here, there in ((first, second, ours, theirs), (second, first, theirs, ours)):
        for setting in here:
            if setting in there:
                continue
            elsewhere = [s for s in there if s.scenario == setting.scenario]
            if elsewhere and name == first:
                yield (
                    f"{short(setting.scenario)}: {setting} in {name}, "
                    f"{'; '.join(map(str, elsewhere))} in {other}: not comparable"
                )
            elif not elsewhere:
                yield f"{short(setting.scenario)}: only in {name} ({setting})"


def short(scenario: str) -> str:
    """A scenario's short name: that of its test function, parameters included."""
    return scenario.rpartition("::")[2]


def _trials(count: int) -> str:
    return "trial" if count == 1 else "trials"
