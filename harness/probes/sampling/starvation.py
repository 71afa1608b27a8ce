"""Whether others on this machine kept the lab's processes from a CPU.

A dockerd that waits for a CPU behind somebody else's work looks like one that is slow. The kernel
tells the two apart: ``full`` of a cgroup's ``cpu.pressure`` is the time in which tasks of the
group could run on a CPU and none of them was let. While the lab waits for itself, however
much it has to do, one of its tasks runs. What is left of the lab's own is a quota, as a
fault sets one, at which nobody else runs either: so no more is held against others than the
CPU time that they used. What the hypervisor took away counts as theirs.

Each machine of a lab is judged by itself. One on which nobody can tell is said to be unwatched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.errors import HarnessError, LabError
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

    ``waited`` is an average over those CPUs that the lab wanted, as the kernel has it; ``cpus`` is
    how many there are.
    """

    waited: float
    lab: float
    busy: float
    stolen: float
    cpus: int = os.cpu_count() or 1

    def since(self, before: CpuTimes) -> CpuTimes:
        """Return the seconds from ``before`` to this reading."""
        return CpuTimes(
            self.waited - before.waited,
            self.lab - before.lab,
            self.busy - before.busy,
            self.stolen - before.stolen,
            self.cpus,
        )

    @property
    def others(self) -> float:
        """CPU seconds that neither the lab used nor the hypervisor took."""
        return max(0.0, self.busy - self.lab)

    @property
    def starved(self) -> float:
        """Seconds for which others, or the hypervisor, kept the lab's processes waiting."""
        return max(0.0, min(self.waited, self.others)) + self.stolen / self.cpus


def cpu_times(groups: Sequence[Path], stat: Path = Path("/proc/stat")) -> CpuTimes:
    """Read what the kernel counts for a lab's groups and for the machine.

    The harness's own CPU time counts as the lab's; what it starts in the lab is in the groups, and
    would count twice with its children's. Raises ``OSError`` or ``ValueError`` where
    the kernel does not count: without cgroup v2 or without pressure stall information.
    """
    waited, lab = 0.0, sum(os.times()[:2])
    if not groups:
        raise ValueError("the lab has no cgroup of version 2")
    for group in groups:
        pressure = group / "cpu.pressure"
        waited += _full(pressure.read_text() if pressure.exists() else "")
        lab += _usage((group / "cpu.stat").read_text())
    return _times(waited, lab, stat.read_text(), os.sysconf("SC_CLK_TCK"))


def times_of_machine(read: Callable[[], Mapping[str, str]]) -> CpuTimes:
    """Return what another machine's kernel counts, by the content of its files.

    ``pressure`` and ``usage`` of the lab's group, and ``stat`` of the machine, in ticks of which
    there are ``ticks`` a second. Errors as for :func:`cpu_times`, and what ``read`` raises.
    """
    counters = read()
    waited, lab = _full(counters["pressure"]), _usage(counters["usage"])
    return _times(waited, lab, counters["stat"], int(counters["ticks"]))


def _times(waited: float, lab: float, stat: str, per_second: int) -> CpuTimes:
    lines = stat.splitlines()
    first = lines[0].split()[1:9] if lines else []
    user, nice, system, _, _, irq, softirq, stolen = (int(word) for word in first)
    busy = (user + nice + system + irq + softirq) / per_second
    cpus = sum(line.startswith("cpu") for line in lines) - 1
    return CpuTimes(waited, lab, busy, stolen / per_second, cpus or 1)


def _full(pressure: str) -> float:
    for line in pressure.splitlines():
        if line.startswith("full "):
            return int(line.rpartition("total=")[2]) / 1e6
    raise ValueError("the kernel does not say for how long a cgroup waited for a CPU")


def _usage(stat: str) -> float:
    words = dict(line.split() for line in stat.splitlines())
    if "usage_usec" not in words:
        raise ValueError("the lab's cgroup does not say how much CPU time it used")
    return int(words["usage_usec"]) / 1e6


def groups_of(lab: Lab) -> list[Path]:
    """Return the cgroups, version 2, that all of a lab's processes on this machine are in."""
    try:
        nodes = lab.here.nodes.values()
    except LabError:
        return []
    return sorted({node.groups.unified.parent for node in nodes if node.groups.unified})


@runtime_checkable
class OfMachines(Protocol):
    """A lab whose nodes are on other kernels than this one."""

    def cpu_counters(self) -> Mapping[str, Callable[[], Mapping[str, str]]]:
        """Return how to read each machine's counters of CPU time, by the machine's name."""
        ...


def starvation_of(lab: Lab) -> list[Starvation]:
    """Return what counts from now on whether others starve a lab, on each of its machines."""
    if not isinstance(lab, OfMachines):
        return [Starvation(partial(cpu_times, groups_of(lab)))]
    return [
        Starvation(partial(times_of_machine, read), machine=name)
        for name, read in lab.cpu_counters().items()
    ]


class Starvation:
    """What others took from a lab on one machine since this was made::

        starvation = Starvation(partial(cpu_times, groups_of(lab)))
        ...
        for doubt in starvation.doubts(trial):
            trial.doubt(doubt)

    Where the kernel does not count it doubts nothing, and says so in the trial's journal.
    ``machine`` names another one than this: that is asked at the beginning and the end alone, for
    a row must not wait for a connection.
    """

    def __init__(
        self,
        read: Callable[[], CpuTimes],
        now: Callable[[], float] = time.monotonic,
        *,
        machine: str = "",
    ) -> None:
        self.machine = machine
        self._read = read
        self._now = now
        self._why = ""
        self._first = self._last = self._reading()

    def row(self) -> dict[str, float]:
        """Return what was used and waited for since the last row; empty if that is not known."""
        since = None if self.machine else self._since_last()
        if since is None:
            return {}
        return {
            "waited_s": round(since.waited, 3),
            "lab_cpu_s": round(since.lab, 2),
            "others_cpu_s": round(since.others, 2),
        }

    def total(self) -> tuple[float, CpuTimes] | None:
        """Return the seconds up to now and what they went to; None if that is not known."""
        self._since_last()
        if self._first is None or self._last is None or self._last is self._first:
            return None
        return self._last[0] - self._first[0], self._last[1].since(self._first[1])

    def _since_last(self) -> CpuTimes | None:
        before, now = self._last, self._reading()
        if before is None or now is None:
            return None
        self._last = now
        return now[1].since(before[1])

    def doubts(self, trial: Trial) -> Iterator[str]:
        """Record what the trial's CPU time went to; yield why that is a doubt, if it is one."""
        where = {"machine": self.machine} if self.machine else {}
        if (total := self.total()) is None:
            trial.journal.write("machine.unwatched", why=self._why, **where)
            return
        seconds, times = total
        trial.journal.write(
            "machine.cpu",
            **where,
            seconds=round(seconds, 3),
            starved=round(times.starved, 3),
            lab=round(times.lab, 2),
            others=round(times.others, 2),
            stolen=round(times.stolen, 2),
        )
        said = (
            f"other work on {self.machine or 'this machine'} kept the lab's processes waiting for "
            f"a CPU for {times.starved:.1f} s of {seconds:.1f} s"
        )
        allowed = MOST * seconds + STALE
        if times.starved > allowed:
            yield f"{said} (allowed: {allowed:.1f} s): end it, or use the microvm lab"
        elif late := [m.name for m in trial.measures.broken() if _late_by(m, times.starved)]:
            yield f"{said}, without which {', '.join(late)} might have been in time"

    def _reading(self) -> tuple[float, CpuTimes] | None:
        try:
            return self._now(), self._read()
        except (HarnessError, OSError, ValueError) as error:
            self._why = self._why or str(error)
            return None


def _late_by(measure: Measure, starved: float) -> bool:
    """Return whether a broken time is over by no more than was waited.

    A wait that ran out is not near its limit, it is at it: nobody knows how long it would have
    been, and what little waiting :data:`MOST` allows does not explain it.
    """
    return not measure.censored and may_hide(measure, starved)
