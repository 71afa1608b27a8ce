"""Expectations and observations: what a scenario measures, as data that stands once.

    NEW_LEADER = Expectation(
        "time to a new leader",
        unit="s",
        at_most=45,
        source="swarmkit: an election takes 10 to 20 ticks of 1 s, or a second round",
        control="test_control_majority_killed",
    )
    RESCHEDULED = Observation("tasks rescheduled", unit="tasks", better="none")

A scenario hands one of them to its fixture ``measure``, with the value:
``measure(NEW_LEADER, leadership.time_to_new_leader(...))``.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

from harness.errors import TrialError, UsageError
from harness.trial.bound import Bound, Direction


def _fields_of(name: str) -> tuple[str, ...]:
    return tuple(field for _, field, _, _ in string.Formatter().parse(name) if field)


def _check_texts(what: Observation | Expectation, *fields: str) -> None:
    """Refuse what a record could not be read back with; :class:`UsageError`."""
    for field in fields:
        if not isinstance(text := getattr(what, field), str):
            raise UsageError(f"the {field} of {what.name!r} is not a text: {text!r}")


@dataclass(frozen=True)
class Observation:
    """A number that is recorded and held against nothing.

    ``unit`` is a UCUM-like symbol ("s", "1" for a share, "MiB", "1/s"), ``better`` says which way
    is good, for comparisons. A name may have fields, ``"longest gap at {entry}"``, which the call
    of ``measure`` fills in.
    """

    name: str
    unit: str
    better: Direction = "lower"

    def __post_init__(self) -> None:
        _check_texts(self, "name", "unit", "better")

    def name_with(self, labels: dict[str, str]) -> str:
        """Return the name with its fields filled in; :class:`TrialError` if they do not fit."""
        if set(_fields_of(self.name)) != set(labels):
            wanted = ", ".join(_fields_of(self.name)) or "none"
            given = ", ".join(labels) or "none"
            raise TrialError(
                f"the measure {self.name!r} does not get the labels it names",
                hint=f"it names: {wanted}; given: {given}",
            )
        return self.name.format(**labels)

    def labelled(self, label: str) -> dict[str, str]:
        """Return labels for a name that has one field; :class:`TrialError` if it has not."""
        fields = _fields_of(self.name)
        if len(fields) != 1:
            raise TrialError(f"the measure {self.name!r} does not have exactly one field to fill")
        return {fields[0]: label}


@dataclass(frozen=True)
class Expectation:
    """A number with the bound that it has to keep, where the bound comes from, and its control.

    Exactly one of ``at_most``, ``at_least`` and ``exactly`` is given, in ``unit``; the limit
    itself keeps the bound. ``source`` says where the limit comes from: the constants upstream
    with their arithmetic, or what was measured and over how many trials. ``control`` names the
    scenario, or scenarios, of the same file in which a swarm broken on purpose must break this very
    bound; without one, ``no_control`` says why there is none.

    Raises :class:`UsageError` where it is written if it cannot be meant.
    """

    name: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    exactly: float | None = None
    source: str = ""
    control: str | tuple[str, ...] = ()
    no_control: str = ""

    def __post_init__(self) -> None:
        _check_texts(self, "name", "unit", "source")
        given = [v for v in (self.at_most, self.at_least, self.exactly) if v is not None]
        if len(given) != 1:
            raise UsageError(
                f"the expectation {self.name!r} has {len(given)} limits",
                hint="give one of at_most, at_least and exactly",
            )
        if not math.isfinite(given[0]):
            raise UsageError(f"the limit of the expectation {self.name!r} is not a finite number")
        if self.controls and self.no_control:
            raise UsageError(f"the expectation {self.name!r} has a control and a reason for none")

    @property
    def limit(self) -> float:
        """The limit, in :attr:`unit`; also how long it makes sense to wait for a time at most."""
        return self.bound.limit

    @property
    def bound(self) -> Bound:
        """The bound as a record has it."""
        if self.at_most is not None:
            return Bound("below", float(self.at_most), self.source)
        if self.at_least is not None:
            return Bound("above", float(self.at_least), self.source)
        assert self.exactly is not None
        return Bound("equals", float(self.exactly), self.source)

    @property
    def controls(self) -> tuple[str, ...]:
        """Names of the scenarios that must break it."""
        return (self.control,) if isinstance(self.control, str) else tuple(self.control)

    @property
    def better(self) -> Direction:
        """Which way is good, as the bound has it."""
        return "higher" if self.at_least is not None else "lower"

    def name_with(self, labels: dict[str, str]) -> str:
        """Return the name with its fields filled in; :class:`TrialError` if they do not fit."""
        return Observation(self.name, self.unit).name_with(labels)

    def labelled(self, label: str) -> dict[str, str]:
        """Return labels for a name that has one field; :class:`TrialError` if it has not."""
        return Observation(self.name, self.unit).labelled(label)
