"""What is injected in an open lab, in files of the lab's folder: it is gone when the lab is.

A page is written before a fault touches anything, from the journal's own entries, so that
whichever process looks next knows what has to be healed, whatever became of the one before.
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


class Page(msgspec.Struct, kw_only=True):
    """One fault that is injected. ``since`` is a reading of the monotonic clock.

    ``evidence`` is empty while it has not been proven, ``trouble`` says why it could not be
    healed. ``maker`` is the process that keeps it up; 0: it needs none.
    """

    id: str
    fault: str
    target: str
    parameters: dict[str, str]
    memory: dict[str, Any]
    since: float
    evidence: str = ""
    trouble: str = ""
    maker: int = 0

    @property
    def kept_up(self) -> bool:
        """Whether a process that lives keeps it up."""
        return self.maker > 0 and Path(f"/proc/{self.maker}").exists()

    @property
    def seconds(self) -> float:
        """How long it has been injected."""
        return time.monotonic() - self.since


class InjectedStore:
    """The pages of one lab, below its folder."""

    def __init__(self, lab: Path) -> None:
        self.folder = lab / "injected"

    def pages(self) -> list[Page]:
        """What is injected, first injected first; :class:`LabError` for a page nobody can read."""
        pages = []
        for path in self.folder.glob("*.json"):
            try:
                pages.append(msgspec.json.decode(path.read_bytes(), type=Page))
            except FileNotFoundError:
                continue  # healed just now
            except (OSError, msgspec.DecodeError) as error:
                raise LabError(f"cannot read what is injected from {path}: {error}") from error
        return sorted(pages, key=lambda page: page.since)

    def page(self, id: str) -> Page:  # noqa: A002 - the journal's word
        """One page; :class:`FaultError` naming those there are."""
        pages = {page.id: page for page in self.pages()}
        if id not in pages:
            there = f"injected are: {', '.join(pages)}" if pages else "nothing is injected"
            raise FaultError(f"no fault {id!r} is injected", hint=there)
        return pages[id]

    def write(self, page: Page) -> None:
        """Write a page, whole or not at all."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            text = msgspec.json.format(msgspec.json.encode(page), indent=1) + b"\n"
            write_atomically(self._path(page.id), text)
        except OSError as error:
            raise LabError(
                f"cannot keep what is injected in {self.folder}: {error.strerror}"
            ) from error

    def strike(self, id: str) -> None:  # noqa: A002 - the journal's word
        """Take a page out: its fault is healed."""
        self._path(id).unlink(missing_ok=True)

    def last_number(self) -> int:
        """The largest number that an injected fault has in its id."""
        return max((int(page.id.rpartition("-")[2]) for page in self.pages()), default=0)

    def _path(self, id: str) -> Path:  # noqa: A002 - the journal's word
        return self.folder / f"{id}.json"


class Keeper:
    """Keeps a book in step with what is injected in a trial, by the trial's journal."""

    def __init__(self, book: InjectedStore, trial: Trial) -> None:
        self._book = book
        self._trial = trial
        self._open: dict[str, tuple[Fault, Page]] = {}
        trial.journal.listen(self._follow)

    def know(self, fault: Fault, page: Page) -> None:
        """Take over a page of another process."""
        self._open[page.id] = (fault, page)

    def trouble(self, id: str, words: str) -> None:  # noqa: A002 - the journal's word
        """Note why a fault could not be healed."""
        self._note(id, trouble=words)

    def _follow(self, entry: dict[str, Any]) -> None:
        match entry["kind"]:
            case "fault.inject":
                self._begin(entry["id"])
            case "fault.evidence":
                self._note(entry["id"], evidence=entry["proof"])
            case "fault.healed":
                self._open.pop(entry["id"], None)
                self._book.strike(entry["id"])

    def _begin(self, id: str) -> None:  # noqa: A002 - the journal's word
        [fault] = [
            f for f in self._trial.active_faults.active if isinstance(f, Fault) and f.id == id
        ]
        target, parameters = fault.text_form()
        page = Page(
            id=id,
            fault=fault.name,
            target=target,
            parameters=parameters,
            memory=fault.heal_state(),
            since=time.monotonic(),
            maker=os.getpid() if fault.ends_with_process else 0,
        )
        self._book.write(page)
        self._open[id] = (fault, page)
        fault.on_checkpoint = lambda: self._note(id)

    def _note(self, id: str, *, evidence: str = "", trouble: str = "") -> None:  # noqa: A002
        if id not in self._open:
            return
        fault, page = self._open[id]
        page.memory = fault.heal_state()
        page.evidence = evidence or page.evidence
        page.trouble = trouble
        self._book.write(page)
