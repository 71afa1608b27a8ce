"""Whether the harness itself kept its time: what was not looked at cannot be judged.

A process that is stopped, a laptop that is suspended and a CPU that is stolen all leave a hole in
what every sampler saw. An outage may hide in it, and a wait that spans it measures the hole. So
a thread beats four times a second while a scenario's body runs, and a hole in its beats that
could have changed a measure makes the trial unknown.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.trial import Measure, Trial

EVERY = 0.25
"""Seconds between two beats: as often as the quickest sampler looks."""

NOTICED = 1.0
"""Seconds that a hole may last and change nothing that is asked for; Locust may stall as long."""

MOST = 5.0
"""Seconds after which a hole is a doubt whatever was measured: counts and shares have no time
to be held against it, and the slowest sampler misses more than one of its rounds."""

ROW_EVERY = 1.0
"""Seconds between two rows of ``samples/harness.jsonl``."""


@dataclass(frozen=True)
class Hole:
    """``seconds`` in which nothing was looked at, up to the trial's second ``t``."""

    t: float
    seconds: float


def boot_clock() -> float:
    """Return the seconds since boot, those in which the machine was suspended among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class MachineLoad:
    """How busy the kernel is that the lab runs on."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._before = self._ticks()

    def steal(self) -> float:
        """Return the share of CPU time that the hypervisor took away since the last call."""
        stolen, all_ = self._ticks()
        before, all_before = self._before
        self._before = stolen, all_
        return round((stolen - before) / max(1, all_ - all_before), 4)

    def _ticks(self) -> tuple[int, int]:
        """Ticks stolen, and all of them; in the first line the guests' are counted twice."""
        try:
            ticks = [int(word) for word in self._stat.read_text().split("\n", 1)[0].split()[1:9]]
            return ticks[7], sum(ticks)
        except (OSError, ValueError, IndexError):
            return 0, 0


class Heartbeat:
    """Beats while its block lasts, and writes ``samples/harness.jsonl``, each row with ``more``."""

    def __init__(
        self,
        trial: Trial,
        *,
        now: Callable[[], float] = boot_clock,
        sleep: Callable[[float], object] | None = None,
        more: Callable[[], dict[str, float]] = dict,
    ) -> None:
        self.holes: list[Hole] = []
        self._trial = trial
        self._now = now
        self._stop = threading.Event()
        self._sleep = sleep or self._stop.wait
        self._more = more
        self._rows: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10.0)
        self._trial.write_samples("harness", self._rows)
        for hole in self.holes:
            self._trial.journal.write("harness.hole", until=hole.t, seconds=hole.seconds)

    def doubts(self, measures: Iterable[Measure]) -> list[str]:
        """Return why measures are not to be believed, at most one sentence."""
        if not self.holes:
            return []
        worst = max(self.holes, key=lambda hole: hole.seconds)
        lost = sum(hole.seconds for hole in self.holes)
        said = f"the harness stood still for {worst.seconds:.1f} s up to {worst.t:.1f} s"
        if len(self.holes) > 1:
            said += f", and for {lost:.1f} s in all"
        if worst.seconds > MOST:
            return [f"{said}: what happened then was not seen"]
        changed = [measure.name for measure in measures if may_hide(measure, lost)]
        return [f"{said}, which could have changed {', '.join(changed)}"] if changed else []

    def _beat(self) -> None:
        load = MachineLoad()
        before = row_at = self._now()
        late = 0.0
        while not self._stop.is_set():
            self._sleep(EVERY)
            now = self._now()
            hole, before = now - before - EVERY, now
            t = self._trial.clock.now()
            if hole > NOTICED:
                self.holes.append(Hole(t, round(hole, 3)))
            late = max(late, hole)
            if now - row_at >= ROW_EVERY:
                row = {"t": t, "late_s": round(max(0.0, late), 4), "steal_share": load.steal()}
                self._rows.append({**row, "run_queue": os.getloadavg()[0], **self._more()})
                late, row_at = 0.0, now


def may_hide(measure: Measure, hole: float) -> bool:
    """Return whether ``hole`` seconds unseen could have turned a measure's answer.

    Of a time that was waited for, or for which something was away: it may truly be longer or
    shorter by as much. Other quantities are not held against holes this short.
    """
    if measure.unit != "s" or measure.bound is None or measure.value is None or measure.ok is None:
        return False
    return abs(measure.value - measure.bound.limit) <= hole


class Cadence:
    """A sampler's own rounds: one that comes ``allowed`` seconds late is a hole in its samples.

    Call :meth:`beat` in each round; :meth:`doubts` when it has ended.
    """

    def __init__(self, sampler: str, every: float, now: Callable[[], float]) -> None:
        self._sampler = sampler
        self._allowed = every + MOST
        self._now = now
        self._last: float | None = None
        self._worst = Hole(0.0, 0.0)

    def beat(self) -> None:
        """Note that a round begins."""
        now = self._now()
        if self._last is not None and now - self._last > self._worst.seconds:
            self._worst = Hole(now, now - self._last)
        self._last = now

    def doubts(self) -> Iterator[str]:
        """Yield why what the sampler saw is not all there was to see, at most one sentence."""
        if self._worst.seconds > self._allowed:
            yield (
                f"{self._sampler} saw nothing for {self._worst.seconds:.1f} s up to "
                f"{self._worst.t:.1f} s (allowed: {self._allowed:g} s)"
            )
