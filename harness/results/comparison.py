"""Comparing runs, or the engines within them: which measures differ, and by how much.

The first side is the baseline; every other is compared to it, measure by measure. Only like is
held against like: same scenario, topology, lab, clock and options, so that figures of virtual and
of real time never meet. What cannot be compared is told in ``left_out``.
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
    group,
    several_engines,
    short,
    unmatched,
)
from harness.results.comparison_sides import Side
from harness.results.statistics import (
    LEVEL,
    Answer,
    Contrast,
    Judgement,
    Question,
    Sample,
    Word,
    answer,
)
from harness.results.thresholds import Rule, Thresholds, rule_for
from harness.trial import Direction, Measure

COMPARISON_SCHEMA = 1

By = Literal["run", "engine"]


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """What one side measured: a value per trial, and how many trials had none.

    ``censored``: the true value is larger.
    """

    values: tuple[float, ...]
    censored: tuple[bool, ...]
    missing: int
    median: float
    least: float
    most: float


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one scenario, held against the baseline.

    ``shift`` (candidate less baseline), ``low`` and ``high`` (its 95 % interval) and ``floor``
    (what counts at least) are in ``unit``; an end that nothing bounds is null. ``p`` is of this
    measure alone, ``adjusted`` after correction for all measures. ``delta`` is Cliff's.
    ``engine`` is empty where engines are what is compared.
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
    word: Word
    because: str


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    """One side against the baseline; ``left_out`` says in sentences what was not compared."""

    candidate: str
    trials: int
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]

    @property
    def counts(self) -> dict[Word, int]:
        """How many measures came out by each word, all words in order."""
        counted = Counter(finding.word for finding in self.findings)
        return {word: counted[word] for word in _ORDER}


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline and all that was held against it. ``level`` is of the intervals."""

    schema: int = COMPARISON_SCHEMA
    by: By
    alpha: float
    level: float = LEVEL
    baseline: str
    trials: int
    pairings: tuple[Pairing, ...]

    @property
    def words(self) -> frozenset[Word]:
        """All words that were given."""
        return frozenset(f.word for pairing in self.pairings for f in pairing.findings)


def compare(
    sides: Sequence[Side], thresholds: Thresholds | None = None, *, by: By = "run"
) -> Comparison:
    """Hold every side against the first. Raises :class:`UsageError` for fewer than two."""
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
        alpha=settings.alpha,
        baseline=baseline.name,
        trials=len(baseline.trials),
        pairings=tuple(_pair(baseline, side, settings, by) for side in sides[1:]),
    )


@dataclass(frozen=True)
class _Asked:
    """A measure that both sides have."""

    setting: Setting
    first: list[Measure]
    second: list[Measure]
    rule: Rule
    identical: bool

    @property
    def question(self) -> Question:
        baseline = _sample(self.first)
        return Question(
            baseline,
            _sample(self.second),
            better=self.rule.better,
            floor=self.rule.floor(median(baseline.values)),
            share=self.first[0].unit == "1",
        )


def _pair(baseline: Side, candidate: Side, thresholds: Thresholds, by: By) -> Pairing:
    left_out: list[str] = []
    named = by == "run" and several_engines((baseline, candidate))
    groups = [group(side, named, left_out) for side in (baseline, candidate)]
    left_out += unmatched(baseline.name, candidate.name, *groups)
    asked = [
        question
        for setting in groups[0]
        if setting in groups[1]
        for question in _questions(
            setting, groups[0][setting], groups[1][setting], thresholds, left_out
        )
    ]
    # What is identical to the byte is no test, and must not count among those that are.
    tested = [item for item in asked if not item.identical]
    answers = iter(answer([item.question for item in tested], alpha=thresholds.alpha))
    findings = [
        _identical(item) if item.identical else _finding(item, next(answers)) for item in asked
    ]
    return Pairing(
        candidate=candidate.name,
        trials=len(candidate.trials),
        findings=tuple(sorted(findings, key=lambda f: _ORDER.index(f.word))),
        left_out=tuple(dict.fromkeys(left_out)),
    )


_ORDER: tuple[Word, ...] = (
    "regressed",
    "different",
    "improved",
    "inconclusive",
    "within noise",
    "same",
)
"""What people look for first."""


def _questions(
    setting: Setting,
    first: Group,
    second: Group,
    thresholds: Thresholds,
    left_out: list[str],
) -> Iterable[_Asked]:
    identical = setting.clock == "virtual" and first.fingerprint == second.fingerprint
    where = short(setting.scenario)
    for name, ours in first.measures.items():
        theirs = second.measures.get(name)
        rule = rule_for(thresholds, name, ours[-1].unit, ours[-1].better)
        if rule.ignore:
            continue
        if theirs is None and name == FAILED:
            continue  # no trial of theirs has a verdict; that is said of the trials
        if theirs is None:
            left_out.append(f"{where}: {name!r} was measured on one side only")
        elif len({m.unit for m in (*ours, *theirs)}) > 1:
            units = ", ".join(sorted({m.unit for m in (*ours, *theirs)}))
            left_out.append(f"{where}: {name!r} has several units ({units})")
        elif not (_known(ours) and _known(theirs)):
            left_out.append(f"{where}: {name!r} has no value on one side")
        else:
            yield _Asked(setting, ours, theirs, rule, identical)
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
        censored=sample.beyond,
        missing=len(measures) - len(sample),
        median=median(sample.values),
        least=min(sample.values),
        most=max(sample.values),
    )


def _finding(item: _Asked, given: Answer) -> Finding:
    return _told(item, given.contrast, given.adjusted, given.judgement)


def _identical(item: _Asked) -> Finding:
    nothing = Contrast(
        shift=0.0, mean_shift=0.0, low=0.0, high=0.0, p=1.0, least=1.0, delta=0.0, spread=0.0
    )
    return _told(item, nothing, 1.0, Judgement("same", "every trial is identical, to the byte"))


def _told(item: _Asked, found: Contrast, adjusted: float, judgement: Judgement) -> Finding:
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
        word=judgement.word,
        because=judgement.because,
    )
