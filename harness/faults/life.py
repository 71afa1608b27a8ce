"""One life for every fault: precheck, journal, inject, evidence, hold, heal, evidence.

A fault is a context manager. What it is about to do is in the journal before it is done; that it
took effect is proven after it is done, or it did not happen and the trial is unknown. Heals run
whatever happens in between, in reverse order of the injections (a ``with`` block's own order),
and each is proven too.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from harness.errors import FaultError, HarnessError
from harness.faults.parameter import Parameter
from harness.trial import Trial


class Fault(ABC):
    """A fault of one kind on one target, injected at most once at a time."""

    #: The name in the journal and in the catalogue.
    name: ClassVar[str]
    #: What it does, in one sentence, for the catalogue and the reference.
    summary: ClassVar[str]
    #: What it is done to.
    acts_on: ClassVar[Literal["node", "links", "task", "service", "swarm"]] = "node"
    #: The keywords its class takes beside ``trial`` and the target.
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    #: What the lab must have ("netem", "a clock per node"); the precheck looks.
    needs: ClassVar[tuple[str, ...]] = ()
    #: How its effect and its heal are proven, in one sentence.
    proof: ClassVar[str]

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._id: str | None = None
        self.began: float | None = None
        """When it was last injected, in seconds since the trial began."""
        self.injected_at: float | None = None
        self.healed_at: float | None = None

    # -- what each fault says and does ---------------------------------------------------------

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Target and parameters, for the journal."""

    @abstractmethod
    def precheck(self) -> None:
        """Raise :class:`FaultError` with the reason if it cannot be done here and now."""

    @abstractmethod
    def apply(self) -> None:
        """Do it."""

    @abstractmethod
    def evidence(self) -> str:
        """Prove from the outside that it took effect; :class:`FaultError` if it did not."""

    @abstractmethod
    def undo(self) -> None:
        """Undo it, as far as it still needs to be undone."""

    @abstractmethod
    def evidence_of_healing(self) -> str:
        """Prove that it is undone; :class:`FaultError` if it is not."""

    # -- its life ------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether it is injected and not healed."""
        return self._id is not None

    def inject(self) -> Self:
        """Inject it and prove it; a fault that fails half-way is undone before the error."""
        if self.active:
            raise FaultError(f"the fault {self._id} is injected already")
        self.precheck()
        self._id = f"{self.name}-{_next_number(self._trial)}"
        self.began = self._trial.journal.write(
            "fault.inject", id=self._id, fault=self.name, **self.describe()
        )
        self.injected_at = time.monotonic()
        try:
            self.apply()
            proof = self.evidence()
        except BaseException as error:
            self._trial.doubt(f"the fault {self._id} left no evidence: {error}")
            self.heal()
            raise
        self._trial.journal.write("fault.evidence", id=self._id, proof=proof)
        return self

    def hold(self, seconds: float) -> None:
        """Keep it injected until ``seconds`` after its injection: the time that is observed.

        Shares of requests are comparable only over windows of the same length.
        """
        if self.injected_at is None:
            raise FaultError(f"the fault {self.name} has not been injected: it cannot be held")
        time.sleep(max(0.0, self.injected_at + seconds - time.monotonic()))

    def heal(self) -> None:
        """Undo it and prove that; nothing happens if it is not active."""
        if self._id is None:
            return
        name, self._id = self._id, None
        self._trial.journal.write("fault.heal", id=name)
        try:
            self.undo()
            proof = self.evidence_of_healing()
        except HarnessError as error:
            self._trial.doubt(f"the fault {name} could not be healed: {error.what}")
            raise
        self.healed_at = time.monotonic()
        self._trial.journal.write("fault.healed", id=name, proof=proof)

    def __enter__(self) -> Self:
        return self.inject()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.heal()


def _next_number(trial: Trial) -> int:
    trial.faults += 1
    return trial.faults
