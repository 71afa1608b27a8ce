"""What a check is, and the registry that they are all in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from harness.doctor.machine import Machine
from harness.errors import HarnessError

State = Literal["ok", "degraded", "missing", "unknown"]
Group = Literal["machine", "kernel", "programs", "microVM", "sources"]


@dataclass(frozen=True)
class Finding:
    """What one look showed: the state, what was seen, and what to do about it."""

    state: State
    seen: str
    todo: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; ``needed_for`` says who would miss it."""

    name: str
    group: Group
    needed_for: str
    state: State
    seen: str
    todo: str = ""


Look = Callable[[Machine], Finding]


@dataclass(frozen=True)
class Entry:
    """A check before it is made."""

    name: str
    group: Group
    needed_for: str
    look: Look


REGISTRY: list[Entry] = []


def check(name: str, group: Group, *, needed_for: str) -> Callable[[Look], Look]:
    """Register a look at the machine under ``name``."""

    def register(look: Look) -> Look:
        REGISTRY.append(Entry(name, group, needed_for, look))
        return look

    return register


def make_checks(machine: Machine, entries: Iterable[Entry]) -> list[Check]:
    """Make the checks, several at a time, and return them in the order of ``entries``.

    A check that breaks is ``unknown``: a doctor that dies of one symptom helps nobody.
    """
    entries = list(entries)
    with ThreadPoolExecutor(max_workers=8) as pool:
        findings = list(pool.map(lambda entry: _look(entry, machine), entries))
    return [
        Check(entry.name, entry.group, entry.needed_for, found.state, found.seen, found.todo)
        for entry, found in zip(entries, findings, strict=True)
    ]


def _look(entry: Entry, machine: Machine) -> Finding:
    try:
        return entry.look(machine)
    except HarnessError as error:
        return Finding("unknown", error.what, error.hint or "")
    except Exception as error:
        return Finding("unknown", f"the check itself broke: {type(error).__name__}: {error}")
