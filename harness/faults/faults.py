"""The fixture ``faults``: every fault there is, in groups, each kept until it is healed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from harness.errors import HarnessError
from harness.faults.kill import DockerdKilled, NodeKilled
from harness.faults.life import Fault
from harness.lab import Node
from harness.trial import Trial

_F = TypeVar("_F", bound=Fault)


class Faults:
    """Makes faults on record in a trial, and heals what was left active."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._made: list[Fault] = []

    def kill_dockerd(self, node: Node) -> DockerdKilled:
        """dockerd of a node dies by SIGKILL for as long as the ``with`` block lasts."""
        return self.keep(DockerdKilled(self._trial, node))

    def kill_node(self, node: Node) -> NodeKilled:
        """A whole node dies by SIGKILL for as long as the ``with`` block lasts."""
        return self.keep(NodeKilled(self._trial, node))

    def keep(self, fault: _F) -> _F:
        """Have a fault healed at the trial's end, if it is still active then; returns it."""
        self._made.append(fault)
        return fault

    def heal_all(self) -> None:
        """Heal what is still active, last injected first; each error becomes a doubt."""
        for fault in reversed(self._active()):
            try:
                fault.heal()
            except HarnessError:
                continue  # heal() has put the doubt on record; the others are healed all the same

    def _active(self) -> list[Fault]:
        active: Iterable[Fault] = (fault for fault in self._made if fault.active)
        return sorted(active, key=lambda fault: fault.injected_at or 0.0)
