"""Measures: one number each, with unit, direction and bound, that a scenario puts on record.

A broken bound does not end the scenario: all measures are taken, then the trial fails with all
that was broken. ``measure("failover", 9.7, unit="s").below(20, source="...")``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

from harness.errors import TrialError
from harness.trial.bound import Bound, Direction
from harness.trial.expectation import Expectation, Observation
from harness.trial.journal import Journal
from harness.wait import Elapsed


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number on record.

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
        if self.value is None:
            shown = "not measured"
        else:
            shown = f"{'> ' if self.censored else ''}{self.value:.4g}"
            shown += "" if self.unit == "1" else f" {self.unit}"
        bound = f" (expected {self.bound})" if self.bound else ""
        note = f": {self.note}" if self.note else ""
        return f"{self.name} = {shown}{bound}{note}"


Value = float | Elapsed | None
"""What can be measured: a number, a time that a state took to come, or nothing at all."""

Taken = Value | tuple[Value, str]
"""A value, or a value and a note."""


class Pending:
    """A measure that is on record and may still be given a bound."""

    def __init__(self, measure: Measure, settle: Callable[[Measure], None]) -> None:
        self.measure = measure
        self._settle = settle

    def below(self, limit: float, *, source: str = "") -> bool | None:
        """Expect at most ``limit``. Returns whether it holds, None if there is no value."""
        return self._hold(Bound("below", limit, source))

    def above(self, limit: float, *, source: str = "") -> bool | None:
        """Expect at least ``limit``. Returns whether it holds, None if there is no value."""
        return self._hold(Bound("above", limit, source))

    def equals(self, limit: float, *, source: str = "") -> bool | None:
        """Expect exactly ``limit`` (counts). Returns whether it holds, None without a value."""
        return self._hold(Bound("equals", limit, source))

    def hold(self, expectation: Expectation) -> None:
        """Hold it against an expectation."""
        self.measure = msgspec.structs.replace(self.measure, expectation=expectation.name)
        self._hold(expectation.bound)

    def _hold(self, bound: Bound) -> bool | None:
        if self.measure.bound is not None:
            raise TrialError(f"the measure {self.measure.name!r} has a bound already")
        if not math.isfinite(bound.limit):
            raise TrialError(f"the bound of {self.measure.name!r} is not a finite number")
        ok: bool | None
        if self.measure.value is None:
            ok = None
        elif self.measure.censored:
            # All that is known is "more than value": enough to break an upper bound that the
            # value reaches, or to keep a lower one; else it says nothing.
            beyond = self.measure.value >= bound.limit
            ok = {"below": False if beyond else None, "above": True if beyond else None}.get(
                bound.op
            )
        else:
            ok = bound.holds(self.measure.value)
        self.measure = msgspec.structs.replace(self.measure, bound=bound, ok=ok)
        self._settle(self.measure)
        return ok


class Measures:
    """The measures of one trial, in the order taken; names are unique. Callable, as a fixture."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._taken: dict[str, Measure] = {}

    def __call__(
        self,
        what: Expectation | Observation | str,
        value: Value,
        *,
        unit: str = "",
        better: Direction = "lower",
        note: str = "",
        **labels: str,
    ) -> Pending:
        """Record a number, and hold it against its bound if ``what`` is an expectation.

        ``labels`` fill the fields in the name of ``what``. An :class:`~harness.wait.Elapsed` whose
        state was not reached is recorded as "longer than". Raises :class:`TrialError` for a name
        taken before, a value that is no number, or labels that do not fit.
        """
        if isinstance(what, str):
            name = what
        else:
            name, unit, better = what.name_with(labels), what.unit, what.better
        if name in self._taken:
            raise TrialError(f"the measure {name!r} was taken already")
        censored = False
        if isinstance(value, Elapsed):
            censored = not value.reached
            if censored and not note:
                note = value.last
            value = value.seconds
        if value is not None:
            value = float(value)
            if not math.isfinite(value):
                raise TrialError(f"the measure {name!r} is not a finite number: {value}")
            value = round(value, 6)
        measure = Measure(name, value, unit, better, censored=censored, note=note)
        self._taken[name] = measure
        self._journal.write("measure", name=name, value=value, unit=unit, censored=censored)
        taken = Pending(measure, self._replace)
        if isinstance(what, Expectation):
            taken.hold(what)
        return taken

    def each(self, taken: Mapping[Expectation | Observation, Taken | Mapping[str, Taken]]) -> None:
        """Record several. A value may have a note beside it, as a pair.

        A mapping in place of a value is a family's, by the one field of its name::

            measure.each({LOST: (7, "lines 3 to 9"), LONGEST_GAP: {"m1": 3.0, "m2": 2.5}})
        """
        for what, value in taken.items():
            if isinstance(value, Mapping):
                for label, member in value.items():
                    self._one(what, member, what.labelled(label))
            else:
                self._one(what, value, {})

    def _one(self, what: Expectation | Observation, taken: Taken, labels: dict[str, str]) -> None:
        value, note = taken if isinstance(taken, tuple) else (taken, "")
        self(what, value, note=note, **labels)  # type: ignore[arg-type]

    def _replace(self, measure: Measure) -> None:
        self._taken[measure.name] = measure
        bound = measure.bound
        if bound is not None:
            self._journal.write(
                "measure.bound", name=measure.name, op=bound.op, limit=bound.limit, ok=measure.ok
            )

    def all(self) -> tuple[Measure, ...]:
        """All measures, in the order they were taken."""
        return tuple(self._taken.values())

    def broken(self) -> tuple[Measure, ...]:
        """Those whose bound does not hold."""
        return tuple(m for m in self._taken.values() if m.ok is False)

    def undecided(self) -> tuple[Measure, ...]:
        """Those that were not measured, or too short a time to be held against their bound."""
        return tuple(
            m for m in self._taken.values() if m.value is None or (m.bound and m.ok is None)
        )
