"""Kinds of failures over nights: which are new, which are known, and since when.

A night is what is remembered of one run: the scenarios that ran and the failures by kind, and no
trials. Nights of many months fit into a file that a CI carries from one night to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import TrialError, UsageError
from harness.files import write_atomically
from harness.results.acknowledged import Acknowledged
from harness.results.failures import Weight, failures_of, scenario_of
from harness.results.run import Run
from harness.results.writer import folder_name

HISTORY_SCHEMA = 1
_MOST_TRIALS = 5

State = Literal["new", "known", "acknowledged", "gone"]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of failure in one night. ``engines``: trials by the engine that was requested.

    ``reason`` is that of the first trial of it; ``trials`` are the first few.
    """

    name: str
    scenario: str
    measure: str
    reason: str
    weight: Weight
    engines: dict[str, int]
    trials: tuple[str, ...]


class Night(msgspec.Struct, frozen=True, kw_only=True):
    """One run: how many trials of which scenarios ran, and the kinds of their failures."""

    run: str
    started: str
    trials: int
    scenarios: tuple[str, ...]
    kinds: tuple[Kind, ...]

    @property
    def label(self) -> str:
        """The id of its run, with the day if that does not say it: merged runs have any name."""
        day = self.started[:10]
        return self.run if not day or day.replace("-", "") in self.run else f"{self.run} of {day}"


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The file of a history."""

    schema: int = HISTORY_SCHEMA
    nights: tuple[Night, ...] = ()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a kind of failure stands in the last night.

    ``state`` "new": no earlier night had it, at least on the engines in ``new_on``; "gone": the
    night before had it, and this one, which ran its scenario, has not. ``nights`` had it,
    ``of`` ran its scenario. ``first_seen`` and ``last_seen`` are labels of nights. ``note``
    is that of its acknowledgement.
    """

    kind: Kind
    state: State
    new_on: tuple[str, ...]
    first_seen: str
    last_seen: str
    nights: int
    of: int
    note: str = ""


def night_of(run: Run) -> Night:
    """Return what is remembered of a run."""
    kinds: dict[str, Kind] = {}
    for failure in failures_of(run):
        before = kinds.get(failure.name)
        engines = dict(before.engines) if before else {}
        engines[failure.engine] = engines.get(failure.engine, 0) + 1
        trials = before.trials if before else ()
        kinds[failure.name] = Kind(
            name=failure.name,
            scenario=failure.scenario,
            measure=failure.measure,
            reason=before.reason if before else failure.reason,
            weight=failure.weight,
            engines=engines,
            trials=(*trials, failure.trial)[:_MOST_TRIALS],
        )
    return Night(
        run=run.record.id,
        started=run.record.started,
        trials=len(run.trials) + len(run.damaged),
        scenarios=tuple(sorted({scenario_of(trial.record) for trial in run.trials})),
        kinds=tuple(kinds.values()),
    )


def in_order(nights: Iterable[Night]) -> tuple[Night, ...]:
    """Return nights from the oldest to the newest; of one run the last that is given."""
    by_run = {(night.started, night.run): night for night in nights}
    return tuple(night for _, night in sorted(by_run.items()))


def standings(
    nights: Sequence[Night], acknowledged: Sequence[Acknowledged] = ()
) -> tuple[Standing, ...]:
    """Return the failures of the last of ``nights`` and those that it is rid of: new ones first."""
    if not nights:
        return ()
    *earlier, tonight = nights
    by_name: dict[str, list[Acknowledged]] = {}
    for each in acknowledged:
        by_name.setdefault(each.failure, []).append(each)
    found = [_standing(kind, nights, by_name.get(kind.name, ())) for kind in tonight.kinds]
    present = {kind.name for kind in tonight.kinds}
    # A night that did not run the scenario says nothing about it.
    found += [
        _standing(kind, nights, (), gone=True)
        for kind in (earlier[-1].kinds if earlier else ())
        if kind.name not in present and _ran(tonight, kind)
    ]
    order: Mapping[State, int] = {"new": 0, "known": 1, "acknowledged": 2, "gone": 3}
    return tuple(sorted(found, key=lambda one: (order[one.state], one.kind.weight, one.kind.name)))


def _standing(
    kind: Kind, nights: Sequence[Night], notes: Sequence[Acknowledged], *, gone: bool = False
) -> Standing:
    seen = [(night, k) for night in nights for k in _named(night, kind)]
    before = {engine for night, k in seen if night is not nights[-1] for engine in k.engines}
    new_on = () if gone else tuple(engine for engine in kind.engines if engine not in before)
    note = _covering(kind, notes)
    state: State = "gone" if gone else "new" if new_on else "known"
    return Standing(
        kind=kind,
        state="acknowledged" if note else state,
        new_on=() if note else new_on,
        first_seen=seen[0][0].label,
        last_seen=seen[-1][0].label,
        nights=len(seen),
        of=sum(_ran(night, kind) or bool(_named(night, kind)) for night in nights),
        note=note,
    )


def _named(night: Night, kind: Kind) -> list[Kind]:
    return [each for each in night.kinds if each.name == kind.name]


def _ran(night: Night, kind: Kind) -> bool:
    """Whether a night has a record of the kind's scenario.

    Of a trial without one no more is known than its folder's name.
    """
    return kind.scenario in night.scenarios or kind.scenario in map(folder_name, night.scenarios)


def _covering(kind: Kind, notes: Sequence[Acknowledged]) -> str:
    """Return the note that covers a kind on all of its engines, several joined; "" without."""
    covered: set[str] = set()
    used = []
    for each in notes:
        engines = set(kind.engines) & set(each.engines or kind.engines)
        if engines - covered:
            covered |= engines
            used.append(each.note)
    return "; ".join(used) if covered == set(kind.engines) else ""


def read_history(path: Path) -> History:
    """Read a history; one that is not there yet is empty. :class:`UsageError` for a wrong file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return History()
    except OSError as error:
        raise UsageError(f"cannot read the history {path}: {error.strerror}") from error
    hint = "name a file that `swarm-chaos results failures --history` wrote, or a new one"
    try:
        read = msgspec.json.decode(raw, type=History)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a history of failures: {error}", hint=hint) from error
    if read.schema != HISTORY_SCHEMA:
        raise UsageError(
            f"{path} has schema {read.schema}; this swarm-chaos reads {HISTORY_SCHEMA}", hint=hint
        )
    return read


def write_history(path: Path, nights: Sequence[Night]) -> None:
    """Write a history, completely or not at all."""
    text = msgspec.json.format(msgspec.json.encode(History(nights=tuple(nights))), indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text + b"\n")
    except OSError as error:
        raise TrialError(f"cannot write the history {path}: {error.strerror}") from error
