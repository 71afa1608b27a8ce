"""Hold stored trials against today's expectations: a bound may have changed since they ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.results.run import StoredTrial
from harness.trial import Expectation, Measure, Measures, TrialRecord
from harness.wait import Elapsed


@dataclass(frozen=True)
class Rejudged:
    """A trial judged again: its record as it would be today, and the measures that differ.

    ``changes`` are pairs, as stored and as of today; None where a measure is held against nothing.
    """

    trial: StoredTrial
    today: TrialRecord
    changes: tuple[tuple[Measure, Measure], ...]


class _NoJournal:
    def write(self, kind: str, **facts: object) -> None:
        """Keep nothing."""


def rejudged(trial: StoredTrial, expectations: Mapping[str, Expectation]) -> Rejudged:
    """Return a trial as today's ``expectations`` of its scenario's file, by name, judge it.

    An unknown trial stays unknown, and one that failed by something else than a bound stays failed:
    what was doubted or raised is not measured again.
    """
    stored = trial.record
    measures = tuple(_held(measure, expectations) for measure in stored.measures)
    failed_otherwise = stored.verdict == "fail" and all(m.ok is not False for m in stored.measures)
    today = stored
    if stored.verdict != "unknown" and not failed_otherwise:
        broken = [measure for measure in measures if measure.ok is False]
        today = msgspec.structs.replace(
            stored,
            verdict="fail" if broken else "pass",
            reason="; ".join(map(str, broken)),
            measures=measures,
        )
    changes = tuple(
        (before, after)
        for before, after in zip(stored.measures, measures, strict=True)
        if (_limit(before), before.ok) != (_limit(after), after.ok)
    )
    return Rejudged(trial, today, changes)


def _held(measure: Measure, expectations: Mapping[str, Expectation]) -> Measure:
    expectation = expectations.get(measure.expectation or measure.name)
    if expectation is None or measure.value is None:
        return measure
    nowhere: Any = _NoJournal()
    plain = Expectation(
        measure.name,
        unit=measure.unit,
        at_most=expectation.at_most,
        at_least=expectation.at_least,
        exactly=expectation.exactly,
        source=expectation.source,
    )
    value = Elapsed(measure.value, reached=False) if measure.censored else measure.value
    again = Measures(nowhere)(plain, value, note=measure.note)
    return msgspec.structs.replace(measure, bound=again.bound, ok=again.ok)


def _limit(measure: Measure) -> tuple[str, float] | None:
    return (measure.bound.op, measure.bound.limit) if measure.bound else None
