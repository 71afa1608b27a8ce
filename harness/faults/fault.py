"""The life of every fault: precheck, journal, inject, evidence, hold, heal, evidence.

A fault is a context manager. What it is about to do is in the journal before it is done; that it
took effect is proven after it is done, or it did not happen and the trial is unknown. Heals run
whatever happens in between, in reverse order of the injections (a ``with`` block's own order),
and each is proven too. One that cannot be healed stays active, and is tried again at the end.

Faults that would contradict each other are refused before anything is touched: each claims what
it needs for itself (:meth:`Fault.claims`), and no two that are active may claim the same.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from harness.errors import FaultError, HarnessError, TrialError, UsageError
from harness.faults.parameter import Parametrized, parameters_of, state, target
from harness.faults.planes import Plane
from harness.trial import Trial

_NUMBERING = threading.Lock()


class Fault(Parametrized, ABC):
    """A fault of one kind on one target, injected at most once at a time.

    ::

        with faults.network.loss(swarm.leader, share=0.1) as loss:
            ...  # it is injected, and proven; it is healed when the block ends
    """

    #: The name in the journal and in the catalogue.
    name: ClassVar[str]
    #: What it does, in one sentence, for the catalogue and the reference.
    summary: ClassVar[str]
    #: What it is done to.
    acts_on: ClassVar[Literal["node", "links", "service", "swarm"]] = "node"
    #: What the lab must have ("netem", "the cgroup controller cpu"); the precheck looks.
    needs: ClassVar[tuple[str, ...]] = ()
    #: How its effect and its heal are proven, in one sentence.
    proof: ClassVar[str]
    #: Attributes that are recorded in the journal besides the parameters.
    recorded: ClassVar[tuple[str, ...]] = ()
    #: What of its target no other fault may change while it is injected ("the qdisc", "the memory
    #: limit"): faults with an entry in common cannot overlap on one target. Empty: its own name.
    excludes: ClassVar[tuple[str, ...]] = ()
    #: Attributes that ``precheck`` or ``apply`` has set and ``undo`` needs, of values that JSON can
    #: hold (lists, not tuples; numbers, not objects), so that another process can heal it. What
    #: ``precheck`` sets is known even if the process is killed in the middle of ``apply``, and so
    #: is what is set before :meth:`checkpoint`.
    needed_to_heal: ClassVar[tuple[str, ...]] = ()
    #: Whether it ends with the process that injected it, because a thread or server of that
    #: process is what does it. It cannot be left injected by hand.
    ends_with_process: ClassVar[bool] = False

    #: Whether the dockerd of its target may die of it although nobody ends it: it takes from the
    #: node what no program can do without.
    may_end_dockerd: ClassVar[bool] = False

    trial: Trial = target(kw_only=False)
    measured: dict[str, float] = state(factory=dict)
    """What the evidence has measured, for its entry in the journal."""
    made_from: tuple[str, dict[str, str]] | None = state(None)
    """Target and parameters as text, if it was made from text (:func:`catalogue.make`)."""
    on_checkpoint: Callable[[], object] | None = state(None)
    """Called when its heal state has changed, so that it can be saved for other processes."""
    _began: float | None = state(None)
    _injected_at: float | None = state(None)
    _healed_at: float | None = state(None)
    _id: str | None = state(None)
    _healing: threading.RLock = state(factory=threading.RLock)

    # -- what each fault says and does ---------------------------------------------------------

    @property
    @abstractmethod
    def target_name(self) -> str:
        """The name of the target, for the journal and for messages."""

    def describe(self) -> dict[str, Any]:
        """Return target and parameters, for the journal."""
        given = (each.name for each in parameters_of(type(self)))
        values = {name: getattr(self, name) for name in (*given, *self.recorded)}
        return {
            "target": self.target_name,
            **{
                name: str(value) if isinstance(value, Plane) else value
                for name, value in values.items()
            },
        }

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
        """Return what it needs for itself while it is injected, each a phrase.

        No two active faults may claim the same. Each entry of ``excludes`` on its target, unless
        a fault overrides it.
        """
        return frozenset(f"{what} of {self.target_name}" for what in self.excludes or (self.name,))

    # -- its life ------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether it is injected and not proven to be healed."""
        return self._id is not None

    @property
    def id(self) -> str | None:
        """Its name in the journal while it is active, such as ``node-killed-1``."""
        return self._id

    @property
    def was_injected(self) -> bool:
        """Whether it has been injected, if only half-way, be it active or healed by now."""
        return self._began is not None

    @property
    def began(self) -> float:
        """When it was last injected, in seconds since the trial began.

        Raises :class:`UsageError` before that, as ``injected_at`` does.
        """
        return self._moment(self._began, "injected")

    @property
    def injected_at(self) -> float:
        """When it was last injected, by the monotonic clock."""
        return self._moment(self._injected_at, "injected")

    @property
    def healed_at(self) -> float:
        """When it was last proven to be healed, by the monotonic clock; raises before that."""
        return self._moment(self._healed_at, "healed")

    def _moment(self, moment: float | None, done: str) -> float:
        if moment is None:
            raise UsageError(
                f"the fault {self.name} has not been {done}: it is not a moment to count from"
            )
        return moment

    def inject(self) -> Self:
        """Inject it and prove it; a fault that fails half-way is undone before the error.

        Raises :class:`FaultError` before anything is touched if it is active already, or if a
        fault that is active claims the same; and what the precheck raises.
        """
        if self.active:
            raise FaultError(f"the fault {self._id} is injected already")
        active_faults = self.trial.active_faults
        active_faults.add(self, self.name)
        try:
            self.precheck()
            self._id = f"{self.name}-{_next_number(self.trial)}"
            self._began = self.trial.journal.write(
                "fault.inject", id=self._id, fault=self.name, **self.describe()
            )
            self._injected_at = time.monotonic()
            if self.may_end_dockerd:
                active_faults.endanger(self.target_name, self.name)
            self.apply()
            proof = self.evidence()
            more = {"measured": self.measured} if self.measured else {}
            self.trial.journal.write("fault.evidence", id=self._id, proof=proof, **more)
        except BaseException as error:
            if self._id is None:
                active_faults.remove(self)
                raise
            self._doubt(f"the fault {self._id} left no evidence: {_sentence(error)}")
            with suppress(Exception):  # its doubt is recorded; the first error is the one to raise
                self.heal()
            raise
        return self

    def hold(self, seconds: float) -> None:
        """Keep it injected until ``seconds`` after its injection: the time that is observed.

        Shares of requests are comparable only over windows of the same length.
        """
        if self._injected_at is None:
            raise FaultError(f"the fault {self.name} has not been injected: it cannot be held")
        time.sleep(max(0.0, self._injected_at + seconds - time.monotonic()))

    def heal(self) -> None:
        """Undo it and prove that; nothing happens if it is not active.

        One that cannot be undone, or is interrupted in it, stays active: it can be healed again.
        """
        with self._healing:
            if (name := self._id) is None:
                return
            with suppress(TrialError):  # a full disk must not stop a heal; the trial's end says it
                self.trial.journal.write("fault.heal", id=name)
            try:
                self.undo()
                proof = self.evidence_of_healing()
            except Exception as error:
                self._doubt(f"the fault {name} could not be healed: {_sentence(error)}")
                raise
            self._healed_at = time.monotonic()
            with suppress(TrialError):
                self.trial.journal.write("fault.healed", id=name, proof=proof)
            self._id = None
            self.trial.active_faults.remove(self)

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
            # The doubt is recorded; what went wrong in the block is the first cause.

    def _doubt(self, reason: str) -> None:
        """Note a doubt, also when the journal cannot be written any more."""
        try:
            self.trial.doubt(reason)
        except TrialError:
            self.trial.doubts.append(reason)

    # -- in another process --------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Have the heal state saved now: in ``apply``, before what makes it needed is done."""
        if self.on_checkpoint is not None:
            self.on_checkpoint()

    def text_form(self) -> tuple[str, dict[str, str]]:
        """Return target and parameters as text that makes this very fault again.

        A role is resolved again then. Raises :class:`FaultError` if it was not made from text.
        """
        if self.made_from is None:
            raise FaultError(f"this {self.name} was not made from text: only its maker can heal it")
        return self.made_from

    def heal_state(self) -> dict[str, Any]:
        """Return what a heal in another process needs: the attributes in ``needed_to_heal``."""
        return {name: getattr(self, name) for name in self.needed_to_heal}

    def resume(self, id: str, heal_state: Mapping[str, Any]) -> None:  # noqa: A002 - the journal's
        """Take over the fault that another process has injected under this id, to heal it.

        The instance is new, with the same target and parameters; ``heal_state`` is what
        :meth:`heal_state` returned there, gone through JSON.
        """
        for name in self.needed_to_heal:
            setattr(self, name, heal_state[name])
        self.trial.active_faults.add(self, id)
        self._id = id


def _next_number(trial: Trial) -> int:
    with _NUMBERING:
        trial.faults += 1
        return trial.faults


def _sentence(error: BaseException) -> str:
    if isinstance(error, HarnessError):
        return error.what
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"{type(error).__name__}: {error}"
