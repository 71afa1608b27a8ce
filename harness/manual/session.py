"""Injecting and healing on an open lab, each call a process of its own for all it knows."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Self

from harness.errors import FaultError, HarnessError, TrialError, UsageError
from harness.faults import Fault
from harness.faults.catalogue import kind_of, make, read_parameters
from harness.faults.targets import Targets
from harness.lab import NamespacesLab
from harness.manual.injected_store import InjectedStore, Keeper, Page
from harness.swarm import Swarm
from harness.trial import EngineFacts, Trial, TrialInputs

Say = Callable[[str], None]


class ManualSession:
    """A lab with all that is injected in it taken over, so that it can be healed or added to.

    What is done is in a journal below the lab's folder, as in a trial.
    """

    def __init__(self, lab: NamespacesLab, *, seed: int = 1) -> None:
        self.lab = lab
        self.book = InjectedStore(lab.keeper.lab_dir)
        self.trial = _record(lab, seed)
        self.trial.faults = self.book.last_number()
        self.targets = Targets(lab, Swarm(lab, seed=seed))
        self._keeper = Keeper(self.book, self.trial)
        self._injected: dict[str, Fault] = {}
        self._strange: dict[str, HarnessError] = {}
        for page in self.book.pages():
            self._take_over(page)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.trial.journal.close()

    def inject(self, name: str, target: str, words: Mapping[str, str]) -> list[Page]:
        """Inject a fault on everything that ``target`` names; all of them, or none.

        Raises :class:`UsageError` for words that cannot be meant, before anything is touched.
        """
        kind = kind_of(name)
        read_parameters(kind, words)
        made = [make(self.trial, name, found, words) for found in self.targets.find(kind, target)]
        try:
            for fault in made:
                fault.inject()
        except BaseException:
            for fault in reversed(made):
                with suppress(Exception):  # its trouble is in the book
                    self._heal(fault)
            raise
        pages = [self.book.page(fault.id or "") for fault in made]
        self._injected.update({page.id: fault for page, fault in zip(pages, made, strict=True)})
        return pages

    def heal(self, ids: Iterable[str] = (), *, say: Say = lambda _: None) -> None:
        """Heal these, or everything, last injected first; each in turn, whatever happens.

        Raises :class:`FaultError` when one could not be: it is still in the book, and can be
        healed again.
        """
        asked = list(ids)
        wanted = [self.book.page(each) for each in asked] if asked else self.book.pages()
        waiting = sorted(wanted, key=lambda page: page.since, reverse=True)
        while True:
            troubles = {}
            for page in waiting:
                try:
                    self._heal(self._in_hand(page))
                except Exception as error:
                    troubles[page.id] = (
                        error.what if isinstance(error, HarnessError) else repr(error)
                    )
                else:
                    say(f"healed {page.id} on {page.target}")
            left = [page for page in waiting if page.id in troubles]
            if not left or len(left) == len(waiting):
                break
            waiting = left  # what was healed after them may have been in their way
        if troubles:
            raise FaultError(
                "not everything is healed: "
                + "; ".join(f"{name}: {words}" for name, words in troubles.items()),
                hint="`heal` tries again what is left; when the lab goes, all of it goes",
            )

    # -- within --------------------------------------------------------------------------------

    def _in_hand(self, page: Page) -> Fault:
        if page.id in self._strange:
            raise self._strange[page.id]
        return self._injected[page.id]

    def _heal(self, fault: Fault) -> None:
        name = fault.id
        try:
            fault.heal()
        except Exception as error:
            if name is not None:
                self._keeper.trouble(
                    name, error.what if isinstance(error, HarnessError) else f"{error!r}"
                )
            raise

    def _take_over(self, page: Page) -> None:
        """Have a fault of another process in hand; one that cannot be is told at its heal."""
        try:
            [target] = self.targets.find(kind_of(page.fault), page.target)
            fault = make(self.trial, page.fault, target, page.parameters)
            fault.resume(page.id, page.memory)
        except HarnessError as error:
            self._strange[page.id] = error
            return
        self._keeper.know(fault, page)
        self._injected[page.id] = fault


def _record(lab: NamespacesLab, seed: int) -> Trial:
    """A record of what this process does, in the next free folder below the lab's."""
    engine = next(iter(lab.nodes.values())).engine
    inputs = TrialInputs(
        scenario="by hand",
        engine=EngineFacts(
            name=engine.name, version=engine.version, source=engine.source, digest=engine.digest
        ),
        topology=str(lab.topology),
        lab="namespaces",
        kernel=platform.release(),
        clock="real",
        seed=seed,
    )
    above = lab.keeper.lab_dir / "by-hand"
    number = 1 + sum(1 for _ in above.glob("*")) if above.is_dir() else 1
    try:
        return Trial(above / f"{number:04}", inputs)
    except TrialError as error:
        raise FaultError(f"nothing can be put on record: {error.what}", hint=error.hint) from error


def parse_words(words: Iterable[str]) -> dict[str, str]:
    """Parameters written ``name=value``; :class:`UsageError` for one that is not."""
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UsageError(f"{word!r} is no parameter", hint="write NAME=VALUE, as in loss=10%")
        if name in found:
            raise UsageError(f"{name} is given twice")
        found[name] = value
    return found


__all__ = ["ManualSession", "parse_words"]
