"""A plan: the single injections of a schedule, each with its time; nothing random is left."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError, UsageError
from harness.faults.catalogue import kind_of, read_parameters
from harness.faults.fault import Fault
from harness.files import write_atomically


@dataclass(frozen=True)
class Injection:
    """One fault at one time. ``at`` and ``lasts`` are seconds; ``lasts`` None: to the plan's end.

    ``target`` and ``parameters`` are text. ``optional``: it is left out, with a note in the
    journal, when its precheck says that it cannot be done just then. ``source``: which entry of
    which file it comes from, for messages.
    """

    at: float
    fault: str
    target: str
    lasts: float | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False
    source: str = ""

    @property
    def until(self) -> float | None:
        """When it is healed, in seconds since the plan began; None: at the plan's end."""
        return None if self.lasts is None else self.at + self.lasts

    def overlaps(self, other: Injection) -> bool:
        """Return whether both are injected at some moment."""
        first, second = sorted((self, other), key=lambda one: one.at)
        return first.until is None or second.at < first.until

    def __str__(self) -> str:
        given = "".join(f" {name}={value}" for name, value in self.parameters.items())
        length = "" if self.lasts is None else f" for {format_duration(self.lasts)}"
        return f"{self.fault} on {self.target}{given}{length}"


@dataclass(frozen=True)
class Plan:
    """Injections in the order of their times."""

    injections: tuple[Injection, ...]

    @classmethod
    def of(cls, injections: Iterable[Injection]) -> Plan:
        """Return injections in order; :class:`UsageError` if one is not valid.

        Checked are names, parameters, and that no two contradict each other, as far as that can
        be known before the targets are: two faults that exclude each other, on the same target
        text, at the same time.
        """
        plan = cls(tuple(sorted(injections, key=lambda one: one.at)))
        for injection in plan:
            try:
                read_parameters(kind_of(injection.fault), injection.parameters)
            except HarnessError as error:
                raise UsageError(f"{injection.source}: {error.what}", hint=error.hint) from None
        before = ByTarget()
        for second in plan:
            if (first := before.contradicting(second)) is not None:
                raise UsageError(
                    f"{second.source}: {second} at {format_duration(second.at)} contradicts "
                    f"{first.source}: {first} at {format_duration(first.at)}, "
                    "which is not healed by then",
                    hint="end the first one before, or use another target",
                )
            before.add(second)
        return plan

    def __iter__(self) -> Iterator[Injection]:
        return iter(self.injections)

    def __len__(self) -> int:
        return len(self.injections)

    @property
    def end(self) -> float:
        """When the last of its moments is, in seconds since it began."""
        return max((one.until or one.at for one in self), default=0.0)

    def lines(self) -> list[str]:
        """Return the plan for people to read, a line for each injection."""
        return [f"{one.at:10.3f} s  {one}" for one in self]

    def facts(self) -> list[dict[str, Any]]:
        """Return its injections as a schedule's file has them."""
        facts = []
        for one in self:
            entry: dict[str, Any] = {
                "at": format_duration(one.at),
                "fault": one.fault,
                "target": one.target,
            }
            if one.lasts is not None:
                entry["for"] = format_duration(one.lasts)
            if one.parameters:
                entry["with"] = dict(one.parameters)
            if one.optional:
                entry["optional"] = True
            facts.append(entry)
        return facts

    def save(self, path: Path) -> None:
        """Write it as a schedule in JSON that gives this same plan, whatever the seed."""
        text = msgspec.json.format(msgspec.json.encode({"fault": self.facts()}), indent=2)
        write_atomically(path, text + b"\n")


class ByTarget:
    """Injections by their targets, to find one that another contradicts among thousands.

    Those of one target are kept in the order of their times. None begins before ``_longest``
    ahead of what it overlaps, so only as many have to be looked at.
    """

    def __init__(self) -> None:
        self._by_target: dict[str, list[Injection]] = {}
        self._longest: dict[str, float] = {}

    def add(self, injection: Injection) -> None:
        """Take one more."""
        target = injection.target
        insort(self._by_target.setdefault(target, []), injection, key=_begins)
        lasts = math.inf if injection.lasts is None else injection.lasts
        self._longest[target] = max(self._longest.get(target, 0.0), lasts)

    def contradicting(self, injection: Injection) -> Injection | None:
        """Return the first of them that contradicts an injection."""
        same = self._by_target.get(injection.target, [])
        ends = math.inf if injection.until is None else injection.until
        begin = bisect_left(
            same, injection.at - self._longest.get(injection.target, 0.0), key=_begins
        )
        for other in islice(same, begin, None):
            if other.at > ends:
                return None
            if contradict(other, injection):
                return other
        return None


def _begins(injection: Injection) -> float:
    return injection.at


def contradict(first: Injection, second: Injection) -> bool:
    """Return whether two injections exclude each other on the same target at the same time.

    Of faults with claims of their own only identical ones are known to do so beforehand.
    """
    if first.target != second.target or not first.overlaps(second):
        return False
    one, other = kind_of(first.fault), kind_of(second.fault)
    if one.claims is not Fault.claims or other.claims is not Fault.claims:
        return one is other and first.parameters == second.parameters
    return not set(one.excludes or (one.name,)).isdisjoint(other.excludes or (other.name,))


def format_duration(seconds: float) -> str:
    """Return seconds as a duration with its unit, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
