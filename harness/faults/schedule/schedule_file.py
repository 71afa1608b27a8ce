"""Schedules as people write them: TOML or JSON, with times, repetition and chance.

::

    [[fault]]
    at = "10s"
    for = "20s"             # left out: until the schedule's end
    every = "60s"           # left out: once
    times = 3
    fault = "dockerd-killed"
    target = "leader"
    with = {}               # parameters, as `swarm-chaos faults NAME` lists them

    [[random]]
    from = "1m"
    until = "5m"
    every = "30s"           # on average, from the end of one to the beginning of the next
    at_once = 1
    choose = [
        {fault = "node-killed", target = "worker", for = ["5s", "20s"], weight = 1},
    ]
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.faults.catalogue import kind_of, read_parameters
from harness.faults.parameter import duration
from harness.faults.schedule.plan import ByTarget, Injection, Plan
from harness.faults.toml_file import read_tables

#: A mistyped unit must not make a plan of millions.
_MOST = 10_000
_MOST_AT_ONCE = 100
_LONGEST = 365 * 86400.0  # seconds


class Entry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"with_": "with"}
):
    """``[[fault]]``: one fault, once or repeated. Durations are text with a unit."""

    at: str
    fault: str
    target: str
    lasts: str | None = msgspec.field(default=None, name="for")
    every: str | None = None
    times: int = 1
    with_: dict[str, str] = {}
    optional: bool = False


class Choice(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"with_": "with"}
):
    """What ``[[random]]`` may draw; ``for`` is the shortest and the longest it lasts."""

    fault: str
    target: str
    lasts: tuple[str, str] = msgspec.field(name="for")
    weight: float = 1.0
    with_: dict[str, str] = {}


class Chance(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"begin": "from"}
):
    """``[[random]]``: faults drawn at random, by the seed."""

    begin: str = "0s"
    until: str
    every: str
    choose: list[Choice]
    at_once: int = 1


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule's file. :meth:`plan` makes the single injections of it."""

    fault: list[Entry] = []
    random: list[Chance] = []

    def plan(self, seed: int, *, name: str = "the schedule", lines: str = "") -> Plan:
        """Return its injections, the same for the same seed; :class:`UsageError` names the entry.

        ``name`` and ``lines`` (the file's text) are for messages.
        """
        where = _Where(name, lines)
        fixed = [
            injection
            for number, entry in enumerate(self.fault)
            for injection in _repeated(entry, where("fault", number))
        ]
        taken = ByTarget()
        for injection in fixed:
            taken.add(injection)
        drawn: list[Injection] = []
        for number, chance in enumerate(self.random):
            source = where("random", number)
            # Each block has its own random numbers: editing one does not change the others.
            numbers = random.Random(f"{seed}/{number}")
            for injection in _drawn(chance, numbers, source):
                if taken.contradicting(injection) is None:
                    taken.add(injection)
                    drawn.append(injection)
        if not fixed and not drawn:
            raise UsageError(f"{name} has no fault in it")
        return Plan.of([*fixed, *drawn])


def read_schedule(path: Path, seed: int) -> Plan:
    """Return the plan of a schedule's file (``.toml`` or ``.json``) for a seed.

    Raises :class:`UsageError` with the line or the entry that is wrong.
    """
    text, raw = read_tables(path)
    try:
        schedule = msgspec.convert(raw, Schedule)
    except msgspec.ValidationError as error:
        raise UsageError(_explained(str(error), _Where(str(path), text))) from error
    return schedule.plan(seed, name=str(path), lines=text)


class _Where:
    """Says where an entry is: its number, and in TOML its line."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._text = text

    def __call__(self, table: str, index: int) -> str:
        heads = [
            number
            for number, line in enumerate(self._text.splitlines(), start=1)
            if re.match(rf"\s*\[\[\s*{table}\s*\]\]", line)
        ]
        line = f" (line {heads[index]})" if index < len(heads) else ""
        return f"{self.name}, {table} {index + 1}{line}"


_PATH = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)


def _explained(complaint: str, where: _Where) -> str:
    """msgspec's ``Expected `str`, got `int` - at `$.fault[1].at``` with the place in the file."""
    found = _PATH.fullmatch(complaint)
    what, path = (found["what"], found["path"] or "") if found else (complaint, "")
    entry = re.match(r"\.(fault|random)\[(\d+)\]\.?(.*)", path)
    if entry is None:
        return f"{where.name}: {what}"
    inner = f"{entry[3]}: " if entry[3] else ""
    return f"{where(entry[1], int(entry[2]))}: {inner}{what}"


def _repeated(entry: Entry, source: str) -> Iterator[Injection]:
    at = _seconds(entry.at, "at", source)
    lasts = None if entry.lasts is None else _seconds(entry.lasts, "for", source)
    every = None if entry.every is None else _seconds(entry.every, "every", source)
    if lasts == 0:
        raise UsageError(f"{source}: for: give a duration above 0 s")
    _check(entry.fault, entry.with_, source)
    if (entry.times > 1) != (every is not None):
        raise UsageError(f"{source}: every needs times (2 or more), and times needs every")
    if entry.times < 1 or entry.times > _MOST:
        raise UsageError(f"{source}: times: {entry.times} is not valid: give 1 to {_MOST}")
    if every is not None and (lasts is None or lasts >= every):
        raise UsageError(f"{source}: a repeated fault must end (for) before the next (every)")
    for number in range(entry.times):
        yield Injection(
            at=round(at + number * (every or 0.0), 3),
            fault=entry.fault,
            target=entry.target,
            lasts=lasts,
            parameters=entry.with_,
            optional=entry.optional,
            source=source,
        )


def _drawn(chance: Chance, numbers: random.Random, source: str) -> Iterator[Injection]:
    """Injections one after the other, ``at_once`` rows of them side by side."""
    begin = _seconds(chance.begin, "from", source)
    until = _seconds(chance.until, "until", source)
    every = _seconds(chance.every, "every", source)
    if begin >= until:
        raise UsageError(f"{source}: until must be after from ({chance.begin}): {chance.until}")
    if every <= 0 or (until - begin) / every > _MOST:
        raise UsageError(f"{source}: every: {chance.every} makes more than {_MOST} faults")
    if not chance.choose:
        raise UsageError(f"{source}: choose: give at least one fault to choose from")
    if not 1 <= chance.at_once <= _MOST_AT_ONCE:
        raise UsageError(f"{source}: at_once: give 1 to {_MOST_AT_ONCE}")
    spans = []
    for number, choice in enumerate(chance.choose, start=1):
        which = f"{source}, choose {number}"
        _check(choice.fault, choice.with_, which)
        if not 0 <= choice.weight < math.inf:
            raise UsageError(f"{which}: weight: {choice.weight:g} is not 0 or more and finite")
        shortest, longest = (_seconds(text, "for", which) for text in choice.lasts)
        if not 0 < shortest <= longest:
            raise UsageError(
                f"{which}: for: {list(choice.lasts)} is not [the shortest, the longest]"
            )
        spans.append((shortest, longest))
    weights = [choice.weight for choice in chance.choose]
    if not any(weights):
        raise UsageError(f"{source}: choose: every weight is 0")
    for _ in range(chance.at_once):
        now = begin
        while (now := round(now + numbers.expovariate(1 / every), 3)) < until:
            [index] = numbers.choices(range(len(weights)), weights)
            choice = chance.choose[index]
            # One drawn late is cut short: the schedule must end on time.
            lasts = round(min(numbers.uniform(*spans[index]), until - now), 3)
            if lasts <= 0:
                break
            yield Injection(
                at=now,
                fault=choice.fault,
                target=choice.target,
                lasts=lasts,
                parameters=choice.with_,
                optional=True,
                source=source,
            )
            now += lasts


def _check(fault: str, texts: dict[str, str], source: str) -> None:
    try:
        read_parameters(kind_of(fault), texts)
    except UsageError as error:
        raise UsageError(f"{source}: {error.what}", hint=error.hint) from None


def _seconds(text: str, key: str, source: str) -> float:
    try:
        seconds = duration(text)
    except UsageError as error:
        raise UsageError(f"{source}: {key}: {error.what}", hint=error.hint) from None
    if seconds > _LONGEST:
        raise UsageError(f"{source}: {key}: {text} is longer than a year")
    return seconds


__all__ = ["Chance", "Choice", "Entry", "Schedule", "read_schedule"]
