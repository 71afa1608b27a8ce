"""What is injected in an open lab, in files of the lab's folder: it goes when the lab goes.

A fault is recorded before it touches anything, from the journal's own entries, so that the next
process knows what has to be healed, whatever became of the one before.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import FaultError, LabError
from harness.faults import Fault
from harness.files import write_atomically
from harness.trial import Trial


class InjectedFault(msgspec.Struct, kw_only=True):
    """One fault that is injected. ``since`` is a reading of the monotonic clock, in seconds.

    ``evidence`` is empty while the fault is not proven, ``trouble`` says why it could not be
    healed. ``kept_up_by`` is the pid of the process without which the fault ends; 0: it needs none.
    """

    id: str
    fault: str
    target: str
    parameters: dict[str, str]
    memory: dict[str, Any]
    since: float
    evidence: str = ""
    trouble: str = ""
    kept_up_by: int = 0

    @property
    def kept_up(self) -> bool:
        """Whether it lasts as long as a process that is alive."""
        return self.kept_up_by > 0 and Path(f"/proc/{self.kept_up_by}").exists()

    @property
    def seconds(self) -> float:
        """How long it has been injected."""
        return time.monotonic() - self.since


class InjectedStore:
    """The injected faults of one lab, each in a file below the lab's folder."""

    def __init__(self, lab: Path) -> None:
        self.folder = lab / "injected"

    def all(self) -> list[InjectedFault]:
        """Return what is injected, first injected first.

        Raises :class:`LabError` for a file that cannot be read.
        """
        found = []
        for path in self.folder.glob("*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=InjectedFault))
            except FileNotFoundError:
                continue  # healed just now
            except (OSError, msgspec.DecodeError) as error:
                raise LabError(f"cannot read what is injected from {path}: {error}") from error
        return sorted(found, key=lambda each: each.since)

    def get(self, id: str) -> InjectedFault:  # noqa: A002 - the journal's word
        """Return one; :class:`FaultError` names those that exist."""
        found = {each.id: each for each in self.all()}
        if id not in found:
            there = f"injected are: {', '.join(found)}" if found else "nothing is injected"
            raise FaultError(f"no fault {id!r} is injected", hint=there)
        return found[id]

    def write(self, injected: InjectedFault) -> None:
        """Write one, atomically; :class:`LabError` if it cannot be written."""
        text = msgspec.json.format(msgspec.json.encode(injected), indent=1) + b"\n"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            write_atomically(self._path(injected.id), text)
        except OSError as error:
            raise LabError(
                f"cannot record what is injected in {self.folder}: {error.strerror}"
            ) from error

    def remove(self, id: str) -> None:  # noqa: A002 - the journal's word
        """Forget one that is healed; nothing happens if it is not there."""
        self._path(id).unlink(missing_ok=True)

    def last_number(self) -> int:
        """Return the largest number in an injected fault's id; 0 without any."""
        return max((int(each.id.rpartition("-")[2]) for each in self.all()), default=0)

    def _path(self, id: str) -> Path:  # noqa: A002 - the journal's word
        return self.folder / f"{id}.json"


class StoreUpdater:
    """Keeps a store in step with what is injected in a trial, by following its journal."""

    def __init__(self, store: InjectedStore, trial: Trial) -> None:
        self._store = store
        self._trial = trial
        self._open: dict[str, tuple[Fault, InjectedFault]] = {}
        trial.journal.listen(self._follow)

    def adopt(self, fault: Fault, injected: InjectedFault) -> None:
        """Follow a fault that another process has injected."""
        self._open[injected.id] = (fault, injected)

    def record_trouble(self, id: str, why: str) -> None:  # noqa: A002 - the journal's word
        """Record why a fault could not be healed."""
        self._update(id, trouble=why)

    def _follow(self, entry: dict[str, Any]) -> None:
        match entry["kind"]:
            case "fault.inject":
                self._begin(entry["id"])
            case "fault.evidence":
                self._update(entry["id"], evidence=entry["proof"])
            case "fault.healed":
                self._open.pop(entry["id"], None)
                self._store.remove(entry["id"])

    def _begin(self, id: str) -> None:  # noqa: A002 - the journal's word
        [fault] = [
            f for f in self._trial.active_faults.active if isinstance(f, Fault) and f.id == id
        ]
        target, parameters = fault.text_form()
        injected = InjectedFault(
            id=id,
            fault=fault.name,
            target=target,
            parameters=parameters,
            memory=fault.heal_state(),
            since=time.monotonic(),
            kept_up_by=os.getpid() if fault.ends_with_process else 0,
        )
        self._store.write(injected)
        self._open[id] = (fault, injected)
        fault.on_checkpoint = lambda: self._update(id)

    def _update(self, id: str, *, evidence: str = "", trouble: str = "") -> None:  # noqa: A002
        if id not in self._open:
            return
        fault, injected = self._open[id]
        injected.memory = fault.heal_state()
        injected.evidence = evidence or injected.evidence
        injected.trouble = trouble
        self._store.write(injected)
