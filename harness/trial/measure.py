"""Measures: one number each, with unit, direction and bound, that a scenario records.

A broken bound does not end the scenario: all measures are taken, then the trial fails with all
that was broken. ``measure(NEW_LEADER, 9.7)``, with an expectation as data (see there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import SupportsFloat

import msgspec

from harness.errors import TrialError
from harness.trial.bound import Bound, Direction
from harness.trial.expectation import Expectation, Observation
from harness.trial.journal import Journal
from harness.trial.quantity import limit_text, quantity_text
from harness.wait import Elapsed


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number as it is recorded.

    ``value`` None: it could not be measured (the trial is unknown). ``censored``: the true value
    is only known to be larger, the watching ended at ``value``. ``ok`` None: no bound, or no
    value. ``better`` says which way is good, for comparisons. ``unit`` is a UCUM-like symbol
    ("s", "1" for a share, "MiB", "1/s"). ``expectation`` is the name of the expectation that it was
    held against, which for one of a family ("longest gap at {entry}") is the family's.
    """

    name: str
    value: float | None
    unit: str
    better: Direction = "lower"
    bound: Bound | None = None
    ok: bool | None = None
    censored: bool = False
    note: str = ""
    expectation: str = ""

    def __str__(self) -> str:
        bound = f" ({limit_text(self.bound, self.unit)} expected)" if self.bound else ""
        note = f", {self.note}" if self.note else ""
        return f"{self.name}: {self.shown}{bound}{note}"

    @property
    def shown(self) -> str:
        """The value with its unit, as people read it: "more than 45 s"."""
        if self.value is None:
            return "not measured"
        more = "more than " if self.censored else ""
        return more + quantity_text(self.value, self.unit, self.bound)


Value = float | Elapsed | None
"""What can be measured: a number, a time that a state took to come, or nothing at all."""

Taken = Value | tuple[Value, str]
"""A value, or a value and a note."""

Readings = dict[Expectation | Observation, Taken | Mapping[str, Taken]]
"""What a scenario's helper returns for :meth:`Measures.each`."""


def _plain(name: str, value: object) -> float:
    """Return a number as Python's own, which JSON knows: a bool is 0 or 1, numpy's are converted.

    Raises :class:`TrialError` for what is not one finite number.
    """
    if not isinstance(value, SupportsFloat):  # a text is not, though float() would read it
        raise TrialError(f"the measure {name!r} is not a number: {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TrialError(f"the measure {name!r} is not a single number: {value!r}") from None
    if not math.isfinite(number):
        raise TrialError(f"the measure {name!r} is not a finite number: {number}")
    return number


def _measured(name: str, value: Value, what: Expectation | Observation, note: str) -> Measure:
    """Return a value as a measure that is held against nothing yet."""
    censored = isinstance(value, Elapsed) and not value.reached
    if isinstance(value, Elapsed):
        note = note or (value.last if censored else "")
        value = value.seconds
    if not isinstance(note, str):
        raise TrialError(f"the note of the measure {name!r} is not a text: {note!r}")
    if value is not None:
        value = round(_plain(name, value), 6)
    return Measure(name, value, what.unit, what.better, censored=censored, note=note)


def _held(measure: Measure, bound: Bound) -> bool | None:
    """Return whether a measure keeps a bound; None if that cannot be said."""
    if measure.value is None:
        return None
    if not measure.censored:
        return bound.holds(measure.value)
    # All that is known is "more than value": enough to break an upper bound that the value
    # reaches, or to keep a lower one; else it says nothing.
    if measure.value < bound.limit:
        return None
    return {"below": False, "above": True}.get(bound.op)


class Measures:
    """The measures of one trial, in the order taken; names are unique. Callable, as a fixture::

    def test_leader_killed(swarm, faults, leadership, measure):
        leader = swarm.leader
        with faults.kill_dockerd(leader) as outage:
            measure(NEW_LEADER, leadership.time_to_new_leader(other_than=leader, since=outage))
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._taken: dict[str, Measure] = {}

    def __call__(
        self, what: Expectation | Observation, value: Value, *, note: str = "", **labels: str
    ) -> Measure:
        """Record a number, hold it against its bound if ``what`` is an expectation; return it.

        ``labels`` fill the fields in the name of ``what``. An :class:`~harness.wait.Elapsed` whose
        state was not reached is recorded as "longer than". Raises :class:`TrialError` for a name
        taken before, a value that is not a finite number, or labels that do not fit.
        """
        return self._take(what, what.name_with(labels), value, note)

    def each(self, taken: Mapping[Expectation | Observation, Taken | Mapping[str, Taken]]) -> None:
        """Record several. A value may come with a note, as a pair.

        A mapping in place of a value is a family's, by the one field of its name::

            measure.each({LOST: (7, "lines 3 to 9"), LONGEST_GAP: {"m1": 3.0, "m2": 2.5}})
        """
        for what, value in taken.items():
            if isinstance(value, Mapping):
                for label, member in value.items():
                    self._one(what, what.name_with(what.labelled(label)), member)
            else:
                self._one(what, what.name_with({}), value)

    def _one(self, what: Expectation | Observation, name: str, taken: Taken) -> None:
        value, note = taken if isinstance(taken, tuple) else (taken, "")
        self._take(what, name, value, note)

    def _take(self, what: Expectation | Observation, name: str, value: Value, note: str) -> Measure:
        if name in self._taken:
            raise TrialError(f"the measure {name!r} was taken already")
        measure = _measured(name, value, what, note)
        self._journal.write(
            "measure",
            name=name,
            value=measure.value,
            unit=measure.unit,
            censored=measure.censored,
        )
        if isinstance(what, Expectation):
            measure = self._hold(measure, what)
        self._taken[name] = measure
        return measure

    def _hold(self, measure: Measure, expectation: Expectation) -> Measure:
        bound = expectation.bound
        held = msgspec.structs.replace(
            measure, bound=bound, ok=_held(measure, bound), expectation=expectation.name
        )
        self._journal.write(
            "measure.bound", name=measure.name, op=bound.op, limit=bound.limit, ok=held.ok
        )
        return held

    def all(self) -> tuple[Measure, ...]:
        """Return all measures, in the order they were taken."""
        return tuple(self._taken.values())

    def broken(self) -> tuple[Measure, ...]:
        """Return those whose bound does not hold."""
        return tuple(m for m in self._taken.values() if m.ok is False)

    def undecided(self) -> tuple[Measure, ...]:
        """Return those not measured, or for too short a time to be held against their bound."""
        return tuple(
            m for m in self._taken.values() if m.value is None or (m.bound and m.ok is None)
        )
