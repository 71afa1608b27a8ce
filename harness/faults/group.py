"""Groups of faults: each room of faults has one, an attribute of the fixture ``faults``."""

from __future__ import annotations

from typing import Protocol, TypeVar

from harness.faults.life import Fault
from harness.trial import Trial

_F = TypeVar("_F", bound=Fault)


class Keep(Protocol):
    """Has a fault healed at the trial's end, if it is still active then; returns it."""

    def __call__(self, fault: _F, /) -> _F:
        """Keep this one."""
        ...


class FaultGroup:
    """Faults of one subject. Each method makes one fault, to be injected or entered by ``with``."""

    def __init__(self, trial: Trial, keep: Keep) -> None:
        self._trial = trial
        self._keep = keep
