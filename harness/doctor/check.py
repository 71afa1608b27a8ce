"""What a check is, and the registry of all checks."""

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
    """The result of a check: the state, what was seen, and how to improve it."""

    state: State
    seen: str
    todo: str = ""


@dataclass(frozen=True)
class Check:
    """A check that was run; ``needed_for`` says what depends on it."""

    name: str
    group: Group
    needed_for: str
    state: State
    seen: str
    todo: str = ""


Examination = Callable[[Machine], Finding]


@dataclass(frozen=True)
class Entry:
    """A check before it runs."""

    name: str
    group: Group
    needed_for: str
    examine: Examination


REGISTRY: list[Entry] = []


def check(name: str, group: Group, *, needed_for: str) -> Callable[[Examination], Examination]:
    """Register a function that examines the machine, as the check ``name``."""

    def register(examine: Examination) -> Examination:
        REGISTRY.append(Entry(name, group, needed_for, examine))
        return examine

    return register


def run_checks(machine: Machine, entries: Iterable[Entry]) -> list[Check]:
    """Run the checks, several at a time, and return them in the order of ``entries``.

    A check that raises is ``unknown``; the others still run.
    """
    entries = list(entries)
    with ThreadPoolExecutor(max_workers=8) as pool:
        findings = list(pool.map(lambda entry: _run(entry, machine), entries))
    return [
        Check(entry.name, entry.group, entry.needed_for, found.state, found.seen, found.todo)
        for entry, found in zip(entries, findings, strict=True)
    ]


def _run(entry: Entry, machine: Machine) -> Finding:
    try:
        return entry.examine(machine)
    except HarnessError as error:
        return Finding("unknown", error.what, error.hint or "")
    except Exception as error:
        return Finding("unknown", f"the check itself failed: {type(error).__name__}: {error}")
