"""Group trials by everything that must be equal before their figures may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.results.comparison_sides import Side
from harness.results.run import StoredTrial
from harness.results.scenario_names import short_name
from harness.results.usable import is_usable
from harness.trial import Measure, TrialInputs
from harness.trial.oracles import of_the_scenario

FAILED = "trials that fail"
"""A measure of every trial that has a verdict: 1 if it failed, 0 if it passed."""


class Setting(NamedTuple):
    """What must be equal for figures to be comparable; ``engine`` is "" if engines may differ."""

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
    """The trials of one side in one setting, and their measures by name."""

    trials: list[StoredTrial] = field(default_factory=list)
    measures: dict[str, list[Measure]] = field(default_factory=dict)

    def add(self, trial: StoredTrial) -> None:
        """Add a trial: its measures, and whether it failed."""
        self.trials.append(trial)
        verdict = trial.record.verdict
        failed = [Measure(FAILED, float(verdict == "fail"), "1")] if verdict != "unknown" else []
        # a broken oracle is a trial that fails; the others are 0, and would dilute the family
        for measure in (*failed, *of_the_scenario(trial.record.measures)):
            self.measures.setdefault(measure.name, []).append(measure)

    @property
    def fingerprint(self) -> frozenset[tuple[int, str]]:
        """Seeds and digests: equal for groups whose trials are byte-identical."""
        return frozenset((t.record.inputs.seed, t.record.digest) for t in self.trials)


def group_trials(side: Side, left_out: list[str], *, by_engine: bool) -> dict[Setting, Group]:
    """Group the usable trials of a side by setting, and by engine version if ``by_engine``.

    Appends a sentence to ``left_out`` for each reason for which trials are left out.
    """
    groups: dict[Setting, Group] = {}
    controls = repeated = 0
    seen = set()
    for trial in side.trials:
        given = trial.record.inputs
        if given.control:
            controls += 1
            continue
        if not is_usable(trial.record):
            continue  # counted below, by Side.unknown
        setting = _setting(given, by_engine)
        same = (setting, given.engine.version, given.seed, trial.record.digest)
        if given.clock == "virtual" and trial.record.digest and same in seen:
            repeated += 1
            continue
        seen.add(same)
        groups.setdefault(setting, Group()).add(trial)
    for count, why in (
        (side.unusable, "verdict unknown; their measures cannot be trusted"),
        (controls, "controls: swarms broken on purpose"),
        (repeated, "byte-identical repetitions in virtual time; each is counted once"),
        (side.damaged, "damaged or unfinished"),
    ):
        if count:
            left_out.append(f"{side.name}: {count} {_trials(count)} left out ({why})")
    return groups


def matched(first: Group, second: Group) -> tuple[Group, Group]:
    """Return both groups with nothing but pairs: trials of one seed, by seed, and for each measure
    the pairs in which both have a value, in that order."""
    ours, theirs = Group(), Group()
    for one, other in _by_seed(first, second):
        a, b = Group(), Group()
        a.add(one)
        b.add(other)
        ours.trials.append(one)
        theirs.trials.append(other)
        for name in a.measures.keys() & b.measures.keys():
            [left], [right] = a.measures[name], b.measures[name]
            if left.value is not None and right.value is not None:
                ours.measures.setdefault(name, []).append(left)
                theirs.measures.setdefault(name, []).append(right)
    return ours, theirs


def _by_seed(first: Group, second: Group) -> Iterable[tuple[StoredTrial, StoredTrial]]:
    """Yield the pairs, the first trial of a seed with the first one, and so on."""
    sides: list[dict[int, list[StoredTrial]]] = [{}, {}]
    for seeds, group in zip(sides, (first, second), strict=True):
        for trial in group.trials:
            seeds.setdefault(trial.record.inputs.seed, []).append(trial)
    ours, theirs = sides
    for seed in sorted(ours.keys() & theirs.keys()):
        yield from zip(ours[seed], theirs[seed], strict=False)


def _setting(given: TrialInputs, by_engine: bool) -> Setting:
    return Setting(
        given.scenario,
        given.engine.version if by_engine else "",
        given.topology,
        given.lab,
        given.clock,
        tuple(sorted(given.options.items())),
    )


def several_engines(sides: Iterable[Side]) -> bool:
    """Return whether any side has trials of several engines; then each is compared to itself."""
    return any(len({t.record.inputs.engine.version for t in side.trials}) > 1 for side in sides)


def unmatched(
    first: str, second: str, ours: Mapping[Setting, Group], theirs: Mapping[Setting, Group]
) -> Iterable[str]:
    """Yield a sentence for each setting that only one of the sides has."""
    for name, other, here, there in ((first, second, ours, theirs), (second, first, theirs, ours)):
        for setting in here:
            if setting in there:
                continue
            elsewhere = [s for s in there if s.scenario == setting.scenario]
            if elsewhere and name == first:
                yield (
                    f"{short_name(setting.scenario)}: {setting} in {name}, "
                    f"{'; '.join(map(str, elsewhere))} in {other}: not comparable"
                )
            elif not elsewhere:
                yield f"{short_name(setting.scenario)}: only in {name} ({setting})"


def _trials(count: int) -> str:
    return "trial" if count == 1 else "trials"
