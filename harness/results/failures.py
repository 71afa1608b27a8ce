"""Failures by kind: what went wrong in a trial, under a name that stays the same night after night.

A kind is a scenario, a measure, and the reason without what differs from trial to trial (ids,
numbers, addresses, names of nodes). Of a reason that lists several things the first counts: the
rest follows from it, or comes in an order of chance.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from harness.results.run import Damaged, Run, StoredTrial
from harness.results.scenario_names import short_name
from harness.trial import Measure, TrialRecord, as_expected
from harness.trial.record import unbroken, unexplained

Weight = Literal["fail", "unknown"]

_VARIABLE = (
    ("<time>", re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")),
    ("<address>", re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE)),
    ("<address>", re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?::\d{1,5})?\b")),
    (
        "<address>",
        re.compile(
            r"\[?(?<![\w:])[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7}(?:\](?::\d+)?)?", re.IGNORECASE
        ),
    ),
    ("<id>", re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)),
    ("<id>", re.compile(r"\b(?:sha256:)?[0-9a-f]{12,64}\b")),
    ("<id>", re.compile(r"\b[0-9a-z]{25}\b")),  # swarmkit's: 25 digits to the base of 36
    ("<number>", re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")),
)
"""What differs between trials that failed in the same way; the first pattern that matches wins."""

_LISTED = re.compile(r"[;,]\s")
_JOINED = re.compile(r";\s|\n")

_TRIAL_FOLDER = re.compile(r"([^.]+)\.(.+)\.[^.]+\.s\d+")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How one trial went wrong. ``reason`` is as it was said, ``name`` that of its kind.

    ``weight``: "fail" or "unknown". ``engine`` is the name that was requested. ``measure`` is
    "" where it was no measure that went wrong.
    """

    name: str
    scenario: str
    measure: str
    reason: str
    weight: Weight
    engine: str
    trial: str


def failures_of(run: Run) -> Iterator[Failure]:
    """Yield how the trials of a run went wrong, those without a readable record included."""
    for trial in run.trials:
        yield from _of_trial(trial)
    for damaged in run.damaged:
        yield _of_damaged(damaged)


def scenario_of(record: TrialRecord) -> str:
    """Return a trial's scenario without the folders that its file is in."""
    file, separator, name = record.inputs.scenario.rpartition("::")
    return file.rpartition("/")[2] + separator + name


def without_variables(text: str, nodes: tuple[str, ...] = ()) -> str:
    """Return a text with placeholders for ids, numbers, addresses and the names of ``nodes``."""
    if nodes:
        names = "|".join(map(re.escape, sorted(nodes, key=len, reverse=True)))
        text = re.sub(rf"\b(?:{names})\b", "<node>", text)
    for placeholder, pattern in _VARIABLE:
        text = pattern.sub(placeholder, text)
    return " ".join(text.split())


def _of_trial(trial: StoredTrial) -> Iterator[Failure]:
    record = trial.record
    outcome = as_expected(record)
    if outcome is True:
        return
    if outcome is None:
        reason = record.reason if record.verdict == "unknown" else record.incomplete
        yield _failure(trial, "", reason, weight="unknown")
        return
    expected_to_fail = record.inputs.control or bool(record.known_bugs)
    broken = unexplained(record) if expected_to_fail else _broken(record)
    for measure in broken:
        yield _failure(trial, measure.expectation or measure.name, str(measure), measure=measure)
    for name in unbroken(record) if expected_to_fail else ():
        bugs = ", ".join(record.known_bugs)
        reason = f"was to break it by a known bug and did not: {bugs}" if bugs else "is blind"
        yield _failure(trial, name, reason if bugs else f"its control {reason}: it kept it")
    if not broken and not (expected_to_fail and unbroken(record)):
        yield _failure(trial, "", record.reason or f"ended as {record.verdict}")


def _broken(record: TrialRecord) -> list[Measure]:
    return [measure for measure in record.measures if measure.ok is False]


def _failure(
    trial: StoredTrial,
    name: str,
    reason: str,
    *,
    measure: Measure | None = None,
    weight: Weight = "fail",
) -> Failure:
    record = trial.record
    # A measure's value and bound say how bad it is, and its note what it was.
    text = reason if measure is None else measure.note
    first = (_JOINED if measure is None else _LISTED).split(text, maxsplit=1)[0]
    scenario = scenario_of(record)
    kind = without_variables(first, record.nodes)
    subject = without_variables(name, record.nodes)
    what = subject or ("raised" if weight == "fail" else "unknown")
    return Failure(
        name=_name(scenario, what, kind),
        scenario=scenario,
        measure=name,
        reason=reason,
        weight=weight,
        engine=record.inputs.engine.name,
        trial=trial.id,
    )


def _of_damaged(damaged: Damaged) -> Failure:
    """Return the failure of what left no readable record; a trial's folder says which case it was.

    It is named ``leader-killed-node.28.5.2.3m2w.s1``; what else is damaged has the run's files'
    names.
    """
    name = damaged.path.name
    folder = _TRIAL_FOLDER.match(name)
    scenario, engine = (folder[1], folder[2]) if folder else (name, "")
    kind = without_variables(_LISTED.split(damaged.sentence, maxsplit=1)[0])
    return Failure(
        name=_name(scenario, "no record", kind),
        scenario=scenario,
        measure="",
        reason=damaged.sentence,
        weight="unknown",
        engine=engine,
        trial=name,
    )


def _name(scenario: str, what: str, kind: str) -> str:
    """Return a kind's name: what people read, and a digest that tells apart what reads alike."""
    digest = hashlib.sha256(f"{scenario}\0{what}\0{kind}".encode()).hexdigest()[:6]
    readable = short_name(scenario) if "::" in scenario else scenario
    subject = re.sub(r"\W+", "-", what.lower()).strip("-")
    return f"{readable.removeprefix('test_')}/{subject}/{digest}"
