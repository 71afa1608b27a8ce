"""Compare runs, or the engines within them: which measures differ, and by how much.

The first side is the baseline; every other side is compared with it, measure by measure. Two
figures are compared only if scenario, topology, lab, clock and options are the same, so figures
in virtual and in real time are never mixed. ``left_out`` says what could not be compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import msgspec

from harness.errors import UsageError
from harness.results.comparable import (
    FAILED,
    Group,
    Setting,
    group_trials,
    matched,
    several_engines,
    unmatched,
)
from harness.results.comparison_sides import Side
from harness.results.scenario_names import short_name
from harness.results.seed_variation import hardly_varies
from harness.results.statistics import (
    LEVEL,
    ComparisonOutcome,
    Contrast,
    Judgement,
    MeasurePair,
    PairResult,
    Sample,
    judge_all,
    judge_in_sequence,
    trials_to_decide,
)
from harness.results.thresholds import Rule, Thresholds, rule_for
from harness.trial import Bound, Direction, Measure

COMPARISON_SCHEMA = 2

By = Literal["run", "engine"]


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one measure on one side, one per trial.

    ``censored`` flags the values whose true value is larger; ``missing`` counts the trials in
    which the measure has no value.
    """

    values: tuple[float, ...]
    censored: tuple[bool, ...]
    missing: int
    median: float
    min: float
    max: float


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one scenario, compared with the baseline.

    ``shift`` (candidate minus baseline), ``low`` and ``high`` (its 95 % interval) and ``floor``
    (the smallest shift that counts) are in ``unit``; an unbounded end is null. ``p`` is for this
    measure alone, ``adjusted`` after correction for all measures. ``delta`` is Cliff's delta.
    ``engine`` is empty if the sides are engines. ``bound`` is what the measure is held against in
    the candidate's last trial, null for an observation. ``decided_by`` is about how many trials of
    each side in all would decide what is inconclusive, null for any other outcome.
    """

    scenario: str
    engine: str
    topology: str
    lab: str
    clock: str
    measure: str
    unit: str
    better: Direction
    baseline: Values
    candidate: Values
    shift: float
    low: float | None
    high: float | None
    p: float
    adjusted: float
    delta: float
    floor: float
    outcome: ComparisonOutcome
    reason: str
    bound: Bound | None = None
    decided_by: int | None = None

    @property
    def trials(self) -> int:
        """How many trials the side with fewer has."""
        return min(len(self.baseline.values), len(self.candidate.values))


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    """One side against the baseline.

    ``unknown`` counts the candidate's trials without a verdict, damaged ones included.
    ``left_out`` has a sentence for everything that was not compared, and for trials that are
    copies of each other.
    """

    candidate: str
    trials: int
    unknown: int
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]

    @property
    def counts(self) -> dict[ComparisonOutcome, int]:
        """How many measures had each outcome, all outcomes in order."""
        counted = Counter(finding.outcome for finding in self.findings)
        return {outcome: counted[outcome] for outcome in _ORDER}


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline and the sides compared with it.

    ``level`` is that of the intervals; ``unknown`` counts the baseline's trials without a
    verdict. ``sequential``: it may be made as often as one likes while trials come in. ``runs`` are
    the ids of the runs that the trials are from.
    """

    schema: int = COMPARISON_SCHEMA
    by: By
    sequential: bool = False
    alpha: float
    level: float = LEVEL
    baseline: str
    trials: int
    unknown: int
    runs: tuple[str, ...] = ()
    pairings: tuple[Pairing, ...]

    @property
    def outcomes(self) -> frozenset[ComparisonOutcome]:
        """All outcomes that occur."""
        return frozenset(f.outcome for pairing in self.pairings for f in pairing.findings)

    @property
    def has_unknown(self) -> bool:
        """Whether any trial of any side has no verdict."""
        return bool(self.unknown or any(pairing.unknown for pairing in self.pairings))

    @property
    def without_findings(self) -> tuple[str, ...]:
        """The candidates of which nothing could be compared with the baseline."""
        return tuple(pairing.candidate for pairing in self.pairings if not pairing.findings)


def compare(
    sides: Sequence[Side], thresholds: Thresholds | None = None, *, by: By = "run"
) -> Comparison:
    """Compare every side with the first. Raises :class:`UsageError` for fewer than two.

    The number of trials must not depend on what earlier comparisons said; see
    :func:`compare_in_sequence`.
    """
    return _compare(sides, thresholds, by, sequential=False)


def compare_in_sequence(
    sides: Sequence[Side], thresholds: Thresholds | None = None, *, by: By = "run"
) -> Comparison:
    """Compare as :func:`compare` does, but so that it may be repeated as trials come in.

    Trials of the same seed are pairs; those without a counterpart are left out.
    """
    return _compare(sides, thresholds, by, sequential=True)


def _compare(
    sides: Sequence[Side], thresholds: Thresholds | None, by: By, *, sequential: bool
) -> Comparison:
    if len(sides) < 2:
        raise UsageError(
            "there is nothing to compare: "
            + (f"only {sides[0].name} has trials" if sides else "no trial was found"),
            hint="name two runs, or `--by engine` and a run with several engines",
        )
    settings = thresholds or Thresholds()
    baseline = sides[0]
    return Comparison(
        by=by,
        sequential=sequential,
        alpha=settings.alpha,
        baseline=baseline.name,
        trials=len(baseline.trials),
        unknown=baseline.unknown,
        runs=tuple(sorted({t.folder.parents[1].name for side in sides for t in side.trials})),
        pairings=tuple(
            _pair(baseline, side, settings, by, sequential=sequential) for side in sides[1:]
        ),
    )


@dataclass(frozen=True)
class _Shared:
    """A measure that both sides have."""

    setting: Setting
    first: list[Measure]
    second: list[Measure]
    rule: Rule
    identical: bool

    @property
    def pair(self) -> MeasurePair:
        baseline = _sample(self.first)
        return MeasurePair(
            baseline,
            _sample(self.second),
            better=self.rule.better,
            floor=self.rule.floor(median(baseline.values)),
            share=self.first[0].unit == "1",
        )


def _pair(
    baseline: Side, candidate: Side, thresholds: Thresholds, by: By, *, sequential: bool
) -> Pairing:
    left_out: list[str] = []
    by_engine = by == "run" and several_engines((baseline, candidate))
    groups = [group_trials(side, left_out, by_engine=by_engine) for side in (baseline, candidate)]
    left_out += unmatched(baseline.name, candidate.name, *groups)
    left_out += [
        f"{short_name(setting.scenario)}: {why} ({side.name})"
        for side, found in zip((baseline, candidate), groups, strict=True)
        for setting, group in found.items()
        if (why := hardly_varies(group))
    ]
    shared: list[_Shared] = []
    for setting in groups[0]:
        if setting not in groups[1]:
            continue
        both = groups[0][setting], groups[1][setting]
        if sequential:
            both = _pairs_alone(setting, *both, left_out)
        shared += _shared_measures(setting, *both, thresholds, left_out)
    judge = judge_in_sequence if sequential else judge_all
    # Byte-identical trials are not a test, and must not count among the tests.
    tested = [item for item in shared if not item.identical]
    results = iter(judge([item.pair for item in tested], alpha=thresholds.alpha))
    findings = [
        _identical(item)
        if item.identical
        else _tested(item, next(results), len(tested), thresholds.alpha)
        for item in shared
    ]
    return Pairing(
        candidate=candidate.name,
        trials=len(candidate.trials),
        unknown=candidate.unknown,
        findings=tuple(sorted(findings, key=lambda f: _ORDER.index(f.outcome))),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _pairs_alone(
    setting: Setting, first: Group, second: Group, left_out: list[str]
) -> tuple[Group, Group]:
    pairs = matched(first, second)
    alone = len(first.trials) + len(second.trials) - 2 * len(pairs[0].trials)
    if alone:
        trials = "1 trial" if alone == 1 else f"{alone} trials"
        left_out.append(f"{short_name(setting.scenario)}: {trials} whose seed the other side lacks")
    return pairs


_ORDER: tuple[ComparisonOutcome, ...] = (
    "regressed",
    "different",
    "improved",
    "inconclusive",
    "within noise",
    "same",
)
"""The most important first."""


def _shared_measures(
    setting: Setting,
    first: Group,
    second: Group,
    thresholds: Thresholds,
    left_out: list[str],
) -> Iterable[_Shared]:
    identical = setting.clock == "virtual" and first.fingerprint == second.fingerprint
    where = short_name(setting.scenario)
    for name, ours in first.measures.items():
        theirs = second.measures.get(name)
        rule = rule_for(thresholds, name, ours[-1].unit, ours[-1].better)
        if rule.ignore:
            continue
        if theirs is None and name == FAILED:
            continue  # no trial of theirs has a verdict: reported with the trials left out
        if theirs is None:
            left_out.append(f"{where}: {name!r} was measured on one side only")
        elif len({m.unit for m in (*ours, *theirs)}) > 1:
            units = ", ".join(sorted({m.unit for m in (*ours, *theirs)}))
            left_out.append(f"{where}: {name!r} has several units ({units})")
        elif not (_known(ours) and _known(theirs)):
            left_out.append(f"{where}: {name!r} has no value on one side")
        else:
            yield _Shared(setting, ours, theirs, rule, identical)
    left_out += [
        f"{where}: {name!r} was measured on one side only"
        for name in second.measures
        if name not in first.measures and name != FAILED
    ]


def _known(measures: Iterable[Measure]) -> list[Measure]:
    return [m for m in measures if m.value is not None]


def _sample(measures: Iterable[Measure]) -> Sample:
    known = _known(measures)
    return Sample.of((m.value for m in known if m.value is not None), [m.censored for m in known])


def _values(measures: Sequence[Measure]) -> Values:
    sample = _sample(measures)
    return Values(
        values=sample.values,
        censored=sample.censored,
        missing=len(measures) - len(sample),
        median=median(sample.values),
        min=min(sample.values),
        max=max(sample.values),
    )


def _tested(item: _Shared, result: PairResult, measures: int, alpha: float) -> Finding:
    found = _finding(item, result.contrast, result.adjusted, result.judgement)
    if found.outcome != "inconclusive":
        return found
    needed = trials_to_decide(
        result.contrast,
        trials=found.trials,
        floor=found.floor,
        measures=measures,
        share=item.pair.share,
        alpha=alpha,
    )
    return msgspec.structs.replace(found, decided_by=needed)


def _identical(item: _Shared) -> Finding:
    nothing = Contrast(
        shift=0.0, mean_shift=0.0, low=0.0, high=0.0, p=1.0, smallest_p=1.0, delta=0.0, spread=0.0
    )
    return _finding(item, nothing, 1.0, Judgement("same", "all trials are byte-identical"))


def _finding(item: _Shared, found: Contrast, adjusted: float, judgement: Judgement) -> Finding:
    setting, baseline = item.setting, _values(item.first)
    return Finding(
        scenario=setting.scenario,
        engine=setting.engine,
        topology=setting.topology,
        lab=setting.lab,
        clock=setting.clock,
        measure=item.first[0].name,
        unit=item.first[0].unit,
        better=item.rule.better,
        baseline=baseline,
        candidate=_values(item.second),
        shift=found.shift,
        low=found.low if math.isfinite(found.low) else None,
        high=found.high if math.isfinite(found.high) else None,
        p=found.p,
        adjusted=adjusted,
        delta=found.delta,
        floor=item.rule.floor(baseline.median),
        outcome=judgement.outcome,
        reason=judgement.reason,
        bound=item.second[-1].bound or item.first[-1].bound,
    )
