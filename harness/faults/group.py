"""Groups of faults: each room of faults has one, an attribute of the fixture ``faults``."""

from __future__ import annotations

from harness.trial import Trial


class FaultGroup:
    """Faults of one subject. Each method makes one fault, to be injected or entered by ``with``."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
