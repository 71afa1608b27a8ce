"""Carrying a plan out: each fault injected at its time and healed at its end, all recorded.

Faults are injected and healed one after the other, in order of time; one that takes too long
makes the next one late, and the journal says how late. However the plan ends, what is
still injected is healed, last injected first.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import FaultError, HarnessError
from harness.faults.catalogue import kind_of, make
from harness.faults.fault import Fault
from harness.faults.schedule.plan import Injection, Plan
from harness.faults.targets import Targets
from harness.trial import Trial

#: Seconds by which an injection may be late before the journal says so.
_LATE = 0.5


@dataclass(frozen=True)
class Done:
    """What became of an injection: its faults, one for each target; none if it was left out."""

    injection: Injection
    faults: tuple[Fault, ...]


class ScheduleRun:
    """A plan being carried out on a swarm: :meth:`run`, or side by side with a ``with`` block."""

    def __init__(
        self,
        trial: Trial,
        plan: Plan,
        targets: Targets,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trial = trial
        self.plan = plan
        self.done: list[Done] = []
        self._targets = targets
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._open: list[Fault] = []

    def run(self) -> list[Done]:
        """Carry the plan out to its end; return what became of each injection.

        The plan is saved in the trial's folder first (``schedule.json``), to be replayed.
        Raises the error of the first fault that could not be injected or healed, after everything
        has been healed. An optional injection is left out when its precheck refuses it.
        """
        journal = self._trial.journal
        path = _new_file(self._trial.folder)
        self.plan.save(path)
        journal.write(
            "schedule.start", file=path.name, injections=len(self.plan), seconds=self.plan.end
        )
        try:
            self._follow()
        finally:
            first = self._heal_what_is_open()
            journal.write("schedule.end", injected=sum(len(done.faults) for done in self.done))
        if first is not None:
            raise first
        return self.done

    def stop(self) -> None:
        """End a run in another thread now; it heals what is injected."""
        self._stop.set()

    # -- during something else -----------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run_aside, name="schedule", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """End it, wherever it is, and raise its error if there is no other."""
        self.stop()
        self._join()
        if error is None and self._error is not None:
            raise self._error

    def wait(self) -> list[Done]:
        """Wait for the plan's end; raises as :meth:`run` does."""
        self._join()
        if self._error is not None:
            raise self._error
        return self.done

    def _run_aside(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._error = error

    def _join(self) -> None:
        if self._thread is None:
            raise FaultError("this schedule has not been started: it cannot be waited for")
        self._thread.join()

    # -- within --------------------------------------------------------------------------------

    def _follow(self) -> None:
        began = self._monotonic()
        order = count()
        # At the same time ends come before beginnings: they may make room for them.
        moments: list[tuple[float, int, int, Injection | tuple[Fault, ...]]] = [
            (one.at, 1, next(order), one) for one in self.plan
        ]
        heapq.heapify(moments)
        while moments:
            due, _, _, what = heapq.heappop(moments)
            if self._stop.wait(max(0.0, began + due - self._monotonic())):
                return
            if isinstance(what, Injection):
                faults = self._inject(what, late=self._monotonic() - began - due)
                if faults and what.until is not None:
                    heapq.heappush(moments, (what.until, 0, next(order), faults))
            else:
                for fault in reversed(what):
                    fault.heal()
                    self._open.remove(fault)
        self._stop.wait(max(0.0, began + self.plan.end - self._monotonic()))

    def _inject(self, what: Injection, late: float) -> tuple[Fault, ...]:
        if late > _LATE:
            self._trial.journal.write(
                "note", text=f"the schedule is {late:.1f} s late with {what.fault}"
            )
        injected: list[Fault] = []
        fault: Fault | None = None
        try:
            for target in self._targets.find(kind_of(what.fault), what.target):
                fault = make(self._trial, what.fault, target, what.parameters)
                fault.inject()
                injected.append(fault)
                self._open.append(fault)
        except HarnessError as error:
            if not what.optional or (fault is not None and fault.was_injected):
                raise
            self._trial.journal.write("note", text=f"left out: {what}: {error.what}")
        self.done.append(Done(what, tuple(injected)))
        return tuple(injected)

    def _heal_what_is_open(self) -> Exception | None:
        """Heal it all, last injected first; the first error of those that could not be."""
        first: Exception | None = None
        for fault in reversed(self._open):
            try:
                fault.heal()
            except Exception as error:
                first = first or error
        return first


def _new_file(folder: Path) -> Path:
    """Where the next plan of a trial is saved: ``schedule.json``, ``schedule-2.json``, ..."""
    path = folder / "schedule.json"
    for number in count(2):
        if not path.exists():
            break
        path = folder / f"schedule-{number}.json"
    return path
