"""Whether others on this machine kept the lab's processes from a CPU.

A dockerd that waits for a CPU behind somebody else's work looks like one that is slow. The kernel
tells the two apart: ``full`` of a cgroup's ``cpu.pressure`` is the time in which tasks of the
group could run on a CPU and none of them was let. While the lab waits for itself, however
much it has to do, one of its tasks runs. What is left of the lab's own is a quota, as a
fault sets one, at which nobody else runs either: so no more is held against others than the
CPU time that they used. What the hypervisor took away counts as theirs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError
from harness.lab import Lab
from harness.probes.sampling.heartbeat import may_hide
from harness.trial import Measure, Trial

MOST = 0.25
"""The share of the time for which others may keep a lab waiting before nothing it shows counts: at
0.20 the times of a scenario were at most half as long again as on a machine that was merely busy,
at 0.44 three times as long, and at 0.84 they broke bounds six times as long (docs/howto.md)."""

STALE = 2.0
"""Seconds between two of the kernel's sums of pressure (PSI_FREQ, kernel/sched/psi.c): as much of
what a trial waited may be from before it began."""


@dataclass(frozen=True)
class CpuTimes:
    """Seconds so far: ``waited`` of wall time, and of CPU time the lab's, all used, all ``stolen``.

    ``waited`` is an average over those CPUs that the lab wanted, as the kernel has it.
    """

    waited: float
    lab: float
    busy: float
    stolen: float

    def since(self, before: CpuTimes) -> CpuTimes:
        """Return the seconds from ``before`` to this reading."""
        return CpuTimes(
            self.waited - before.waited,
            self.lab - before.lab,
            self.busy - before.busy,
            self.stolen - before.stolen,
        )

    @property
    def others(self) -> float:
        """CPU seconds that neither the lab used nor the hypervisor took."""
        return max(0.0, self.busy - self.lab)

    @property
    def starved(self) -> float:
        """Seconds for which others, or the hypervisor, kept the lab's processes waiting."""
        stolen = self.stolen / (os.cpu_count() or 1)
        return max(0.0, min(self.waited, self.others)) + stolen


def cpu_times(groups: Sequence[Path], stat: Path = Path("/proc/stat")) -> CpuTimes:
    """Read what the kernel counts for a lab's groups and for the machine.

    The harness's own CPU time counts as the lab's; what it starts in the lab is in the groups, and
    would count twice with its children's. Raises ``OSError`` or ``ValueError`` where
    the kernel does not count: without cgroup v2 or without pressure stall information.
    """
    waited = lab = 0.0
    if not groups:
        raise ValueError("the lab has no cgroup of version 2")
    for group in groups:
        waited += _full(group / "cpu.pressure")
        lab += _usage(group / "cpu.stat")
    user, nice, system, _, _, irq, softirq, stolen = _ticks(stat)
    per_second = os.sysconf("SC_CLK_TCK")
    busy = (user + nice + system + irq + softirq) / per_second
    own = sum(os.times()[:2])
    return CpuTimes(waited, lab + own, busy, stolen / per_second)


def _ticks(stat: Path) -> list[int]:
    return [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:9]]


def _full(pressure: Path) -> float:
    for line in pressure.read_text().splitlines():
        if line.startswith("full "):
            return int(line.rpartition("total=")[2]) / 1e6
    raise ValueError(f"{pressure} does not say for how long all waited")


def _usage(stat: Path) -> float:
    words = dict(line.split() for line in stat.read_text().splitlines())
    return int(words["usage_usec"]) / 1e6


def groups_of(lab: Lab) -> list[Path]:
    """Return the cgroups, version 2, that all of a lab's processes on this machine are in."""
    try:
        nodes = lab.here.nodes.values()
    except LabError:
        return []
    return sorted({node.groups.unified.parent for node in nodes if node.groups.unified})


class Starvation:
    """What others took from a lab since this was made::

        starvation = Starvation(partial(cpu_times, groups_of(lab)))
        ...
        for doubt in starvation.doubts(trial):
            trial.doubt(doubt)

    Where the kernel does not count, it knows nothing and doubts nothing.
    """

    def __init__(
        self, read: Callable[[], CpuTimes], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._now = now
        self._first = self._last = self._reading()

    def row(self) -> dict[str, float]:
        """Return what was used and waited for since the last row; empty if that is not known."""
        before, now = self._last, self._reading()
        if before is None or now is None:
            return {}
        self._last = now
        since = now[1].since(before[1])
        return {
            "waited_s": round(since.waited, 3),
            "lab_cpu_s": round(since.lab, 2),
            "others_cpu_s": round(since.others, 2),
        }

    def total(self) -> tuple[float, CpuTimes] | None:
        """Return the seconds up to now and what they went to; None if that is not known."""
        self.row()
        if self._first is None or self._last is None or self._last is self._first:
            return None
        return self._last[0] - self._first[0], self._last[1].since(self._first[1])

    def doubts(self, trial: Trial) -> Iterator[str]:
        """Record what the trial's CPU time went to; yield why that is a doubt, if it is one."""
        if (total := self.total()) is None:
            return
        seconds, times = total
        trial.journal.write(
            "machine.cpu",
            seconds=round(seconds, 3),
            starved=round(times.starved, 3),
            lab=round(times.lab, 2),
            others=round(times.others, 2),
            stolen=round(times.stolen, 2),
        )
        said = (
            f"other work on this machine kept the lab's processes waiting for a CPU for "
            f"{times.starved:.1f} s of {seconds:.1f} s"
        )
        allowed = MOST * seconds + STALE
        if times.starved > allowed:
            yield f"{said} (allowed: {allowed:.1f} s): end it, or use the microvm lab"
        elif late := [m.name for m in trial.measures.broken() if _late_by(m, times.starved)]:
            yield f"{said}, without which {', '.join(late)} might have been in time"

    def _reading(self) -> tuple[float, CpuTimes] | None:
        try:
            return self._now(), self._read()
        except (OSError, ValueError, KeyError):
            return None


def _late_by(measure: Measure, starved: float) -> bool:
    """Return whether a broken time is over by no more than was waited.

    A wait that ran out is not near its limit, it is at it: nobody knows how long it would have
    been, and what little waiting :data:`MOST` allows does not explain it.
    """
    return not measure.censored and may_hide(measure, starved)
