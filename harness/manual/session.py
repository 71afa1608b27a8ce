"""Injecting and healing on an open lab, from one short-lived process after another."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Self

from harness.errors import FaultError, HarnessError, TrialError, UsageError
from harness.faults import Fault
from harness.faults.catalogue import kind_of, make, read_parameters
from harness.faults.targets import Targets
from harness.lab import Lab
from harness.manual.injected_store import InjectedFault, InjectedStore, StoreUpdater
from harness.swarm import Swarm
from harness.trial import EngineFacts, Trial, TrialInputs

Say = Callable[[str], None]


class ManualSession:
    """An open lab, with all the faults that earlier processes have injected into it.

    What is done is in a journal below the lab's folder, as in a trial::

        with find(None).entered() as lab, ManualSession(lab) as session:
            session.inject("network-loss", "w1", {"share": "10%"})
    """

    def __init__(self, lab: Lab, *, seed: int = 1) -> None:
        self.lab = lab
        self.store = InjectedStore(lab.folder)
        self.trial = _new_trial(lab, seed)
        self.trial.faults = self.store.last_number()
        self.targets = Targets(lab, Swarm(lab, seed=seed))
        self._updater = StoreUpdater(self.store, self.trial)
        self._faults: dict[str, Fault] = {}
        self._not_adopted: dict[str, HarnessError] = {}
        for injected in self.store.all():
            self._adopt(injected)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.trial.journal.close()

    def inject(self, name: str, target: str, parameters: Mapping[str, str]) -> list[InjectedFault]:
        """Inject a fault on everything that ``target`` names: on all of it, or on nothing.

        Raises :class:`UsageError` for a wrong parameter before anything is touched.
        """
        kind = kind_of(name)
        read_parameters(kind, parameters)
        made = [
            make(self.trial, name, found, parameters) for found in self.targets.find(kind, target)
        ]
        try:
            for fault in made:
                fault.inject()
        except BaseException:
            for fault in reversed(made):
                with suppress(Exception):  # the store has its trouble
                    self._heal(fault)
            raise
        injected = [self.store.get(fault.id or "") for fault in made]
        self._faults.update({one.id: fault for one, fault in zip(injected, made, strict=True)})
        return injected

    def heal(self, ids: Iterable[str] = (), *, say: Say = lambda _: None) -> None:
        """Heal these faults, or all, the last injected first; one that fails stops no other.

        Raises :class:`FaultError` when one could not be healed: it is still in the store, and
        can be healed again.
        """
        asked = list(ids)
        wanted = [self.store.get(each) for each in asked] if asked else self.store.all()
        waiting = sorted(wanted, key=lambda each: each.since, reverse=True)
        while True:
            troubles = {}
            for injected in waiting:
                try:
                    self._heal(self._fault_of(injected))
                except Exception as error:
                    troubles[injected.id] = _reason(error)
                else:
                    say(f"healed {injected.id} on {injected.target}")
            left = [injected for injected in waiting if injected.id in troubles]
            if not left or len(left) == len(waiting):
                break
            waiting = left  # what was healed after them may have been in their way
        if troubles:
            raise FaultError(
                "not everything is healed: "
                + "; ".join(f"{name}: {why}" for name, why in troubles.items()),
                hint="`heal` tries again; when the lab ends, everything injected ends with it",
            )

    def _fault_of(self, injected: InjectedFault) -> Fault:
        if injected.id in self._not_adopted:
            raise self._not_adopted[injected.id]
        return self._faults[injected.id]

    def _heal(self, fault: Fault) -> None:
        name = fault.id
        try:
            fault.heal()
        except Exception as error:
            if name is not None:
                self._updater.record_trouble(name, _reason(error))
            raise

    def _adopt(self, injected: InjectedFault) -> None:
        """Take over a fault of another process; if it cannot be, healing it says why."""
        try:
            [target] = self.targets.find(kind_of(injected.fault), injected.target)
            fault = make(self.trial, injected.fault, target, injected.parameters)
            fault.resume(injected.id, injected.memory)
        except HarnessError as error:
            self._not_adopted[injected.id] = error
            return
        self._updater.adopt(fault, injected)
        self._faults[injected.id] = fault


def _reason(error: Exception) -> str:
    return error.what if isinstance(error, HarnessError) else repr(error)


def _new_trial(lab: Lab, seed: int) -> Trial:
    """A trial that records what this process does, in the next free folder below the lab's."""
    engine = next(iter(lab.nodes.values())).engine
    inputs = TrialInputs(
        scenario="by hand",
        engine=EngineFacts(
            name=engine.name, version=engine.version, source=engine.source, digest=engine.digest
        ),
        topology=str(lab.topology),
        lab=lab.name,
        kernel=platform.release(),
        clock="real",
        seed=seed,
    )
    above = lab.folder / "by-hand"
    number = 1 + sum(1 for _ in above.glob("*")) if above.is_dir() else 1
    try:
        return Trial(above / f"{number:04}", inputs)
    except TrialError as error:
        raise FaultError(f"cannot record what is done: {error.what}", hint=error.hint) from error


def parse_parameters(given: Iterable[str]) -> dict[str, str]:
    """Read parameters written ``name=value``; :class:`UsageError` for one that is not."""
    found: dict[str, str] = {}
    for word in given:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UsageError(
                f"{word!r} is not a valid parameter", hint="write NAME=VALUE, as in share=10%"
            )
        if name in found:
            raise UsageError(f"the parameter {name} is given twice")
        found[name] = value
    return found
