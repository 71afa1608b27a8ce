"""One life for every fault: precheck, journal, inject, evidence, hold, heal, evidence.

A fault is a context manager. What it is about to do is in the journal before it is done; that it
took effect is proven after it is done, or it did not happen and the trial is unknown. Heals run
whatever happens in between, in reverse order of the injections (a ``with`` block's own order),
and each is proven too. One that cannot be healed stays active, and is tried again at the end.

Faults that would contradict each other are refused before anything is touched: each claims what
it takes for itself (:meth:`Fault.claims`), and no two that are active may claim the same.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from harness.errors import FaultError, HarnessError, TrialError
from harness.faults.parameter import Parameter
from harness.trial import Trial

_NUMBERING = threading.Lock()


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
    #: What of its target no other fault may change while it is injected ("the qdisc", "the memory
    #: limit"): faults with a word in common cannot overlap on one target. Empty: its own name.
    excludes: ClassVar[tuple[str, ...]] = ()
    #: Attributes that ``precheck`` or ``apply`` has set and ``undo`` needs, of values that JSON can
    #: hold (lists, not tuples; numbers, not objects), so that another process can heal it. What
    #: ``precheck`` sets is known even if the process is killed in the middle of ``apply``, and so
    #: is what is set before :meth:`jot`.
    remembers: ClassVar[tuple[str, ...]] = ()
    #: Whether it ends with the process that injected it, because a thread or server of that
    #: process is what does it. It cannot be left injected by hand.
    lives_here: ClassVar[bool] = False

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._healing = threading.RLock()
        self._id: str | None = None
        self.words: tuple[str, dict[str, str]] | None = None
        """Target and parameters in people's words, if it was made of such: see the catalogue."""
        self.keeper: Callable[[Fault], object] | None = None
        """Is told when what it remembers has changed, for other processes to know."""
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

    def claims(self) -> frozenset[str]:
        """What it takes for itself while it is injected, each a phrase: no two may be the same.

        Each word of ``excludes`` on its target, unless a fault knows better.
        """
        target = self.describe()["target"]
        return frozenset(f"{what} of {target}" for what in self.excludes or (self.name,))

    # -- its life ------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether it is injected and not proven to be healed."""
        return self._id is not None

    @property
    def id(self) -> str | None:
        """Its name in the journal while it is active, such as ``node-killed-1``."""
        return self._id

    def inject(self) -> Self:
        """Inject it and prove it; a fault that fails half-way is undone before the error.

        Raises :class:`FaultError` before anything is touched if it is active already, or if a
        fault that is active claims the same; and what the precheck raises.
        """
        if self.active:
            raise FaultError(f"the fault {self._id} is injected already")
        active_faults = self._trial.active_faults
        active_faults.enter(self, self.name)
        try:
            self.precheck()
            self._id = f"{self.name}-{_next_number(self._trial)}"
            self.began = self._trial.journal.write(
                "fault.inject", id=self._id, fault=self.name, **self.describe()
            )
            self.injected_at = time.monotonic()
            self.apply()
            proof = self.evidence()
            self._trial.journal.write("fault.evidence", id=self._id, proof=proof)
        except BaseException as error:
            if self._id is None:
                active_faults.strike(self)
                raise
            self._doubt(f"the fault {self._id} left no evidence: {_words(error)}")
            with suppress(Exception):  # its doubt is on record; the first error is the one to tell
                self.heal()
            raise
        return self

    def hold(self, seconds: float) -> None:
        """Keep it injected until ``seconds`` after its injection: the time that is observed.

        Shares of requests are comparable only over windows of the same length.
        """
        if self.injected_at is None:
            raise FaultError(f"the fault {self.name} has not been injected: it cannot be held")
        time.sleep(max(0.0, self.injected_at + seconds - time.monotonic()))

    def heal(self) -> None:
        """Undo it and prove that; nothing happens if it is not active.

        One that cannot be undone, or is interrupted in it, stays active: it can be healed again.
        """
        with self._healing:
            if (name := self._id) is None:
                return
            with suppress(TrialError):  # a full disk keeps nobody from healing; the end says it
                self._trial.journal.write("fault.heal", id=name)
            try:
                self.undo()
                proof = self.evidence_of_healing()
            except Exception as error:
                self._doubt(f"the fault {name} could not be healed: {_words(error)}")
                raise
            self.healed_at = time.monotonic()
            with suppress(TrialError):
                self._trial.journal.write("fault.healed", id=name, proof=proof)
            self._id = None
            self._trial.active_faults.strike(self)

    def __enter__(self) -> Self:
        return self.inject()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            self.heal()
        except Exception:
            if error is None:
                raise
            # The doubt is on record; what went wrong in the block is the first cause.

    def _doubt(self, reason: str) -> None:
        """Note a doubt, also when the journal cannot be written any more."""
        try:
            self._trial.doubt(reason)
        except TrialError:
            self._trial.doubts.append(reason)

    # -- in another process --------------------------------------------------------------------

    def jot(self) -> None:
        """Have what it remembers kept now: in ``apply``, before what makes it needed is done."""
        if self.keeper is not None:
            self.keeper(self)

    def words_again(self) -> tuple[str, dict[str, str]]:
        """Target and parameters in words that make this very fault again, whoever leads by then."""
        if self.words is None:
            raise FaultError(f"this {self.name} was not made of words: nobody else can heal it")
        return self.words

    def memory(self) -> dict[str, Any]:
        """What a heal in another process must know: the attributes named in ``remembers``."""
        return {name: getattr(self, name) for name in self.remembers}

    def recall(self, id: str, memory: Mapping[str, Any]) -> None:  # noqa: A002 - the journal's word
        """Be the fault that another process has injected under this id, so that it can be healed.

        The instance is made anew, for the same target and with the same parameters; ``memory`` is
        what :meth:`memory` was there, gone through JSON.
        """
        for name in self.remembers:
            setattr(self, name, memory[name])
        self._trial.active_faults.enter(self, id)
        self._id = id


def _next_number(trial: Trial) -> int:
    with _NUMBERING:
        trial.faults += 1
        return trial.faults


def _words(error: BaseException) -> str:
    """An error as a sentence: its own, or what kind of thing it was."""
    if isinstance(error, HarnessError):
        return error.what
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"{type(error).__name__}: {error}"
