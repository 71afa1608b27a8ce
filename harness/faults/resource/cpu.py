"""CPU: a node that gets only a share of one, and a node that competes with busy processes."""

from __future__ import annotations

import subprocess
import time

from harness.errors import FaultError, LabError
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import COUNT, SHARE, parameter, state
from harness.faults.resource.controllers import Controller, FaultCgroup, controller, reap
from harness.wait import NotYet, wait_for

_PERIOD = 100_000  # microseconds, the kernel's own default
_TAKES_EFFECT_WITHIN = 10.0
_BUSY = ("sh", "-c", "while :; do :; done")


class CpuLimited(NodeFault):
    """All processes of a node together get at most a share of one CPU."""

    name = "cpu-limited"
    summary = "All processes of a node together get at most a share of one CPU (a cgroup quota)."
    needs = ("the cgroup controller cpu with bandwidth control",)
    proof = "the kernel throttles a busy process of the node; healed: no quota is left"

    # A quota below 1 ms is refused (kernel/sched/core.c).
    share: float = parameter(
        SHARE.between("0.01", "1"), "the share of one CPU, from 1%", kw_only=False
    )

    def precheck(self) -> None:
        """Require that the node is on, and that the kernel has quotas."""
        self.require_up()
        cpu = controller(self.node, "cpu")
        if not cpu.has(_quota_file(cpu)):
            raise FaultError(f"this kernel has no CPU quotas: no {_quota_file(cpu)}")

    def apply(self) -> None:
        """Set the quota."""
        cpu = controller(self.node, "cpu")
        _set_quota(cpu, round(self.share * _PERIOD))

    def evidence(self) -> str:
        """Check that a busy process is throttled in it, within seconds."""
        cpu = controller(self.node, "cpu")
        before = cpu.counter("cpu.stat", "nr_throttled")
        group = FaultCgroup(self.node, "witness")
        group.make()
        witness = group.start(_BUSY)
        try:

            def throttled() -> int | NotYet:
                more = cpu.counter("cpu.stat", "nr_throttled") - before
                return more if more > 0 else NotYet("nothing was throttled")

            wait_for(
                throttled, state="the quota to take effect", within=_TAKES_EFFECT_WITHIN, every=0.02
            )
        finally:
            group.end()
            reap(witness)
        return f"{self.node.name} is throttled at {self.share:g} of a CPU"

    def undo(self) -> None:
        """Remove the quota; a node that was switched off has none."""
        if self.node.up:
            _set_quota(controller(self.node, "cpu"), None)

    def evidence_of_healing(self) -> str:
        """Check that no quota is set."""
        if self.node.up and (quota := _quota(controller(self.node, "cpu"))) is not None:
            raise FaultError(f"{self.node.name} still has a quota of {quota} us")
        return f"{self.node.name} has no quota"


class CpuHogged(NodeFault):
    """Busy processes on a node, which compete with its dockerd and its tasks.

    They compete within the node: where nodes share CPUs, the others keep their own shares.
    """

    name = "cpu-hogged"
    summary = "Busy processes compete with a node's dockerd and tasks for its CPU time."
    needs = ("the cgroup controller cpu",)
    proof = "their group uses CPU time; healed: the group is gone with all its processes"

    processes: int = parameter(COUNT.between("1", "64"), "how many are busy", default="2")
    weight: int = parameter(
        COUNT.between("1", "100"), "their CPU weight together, in dockerd's own", default="1"
    )
    _started: list[subprocess.Popen[bytes]] = state(factory=list)

    @property
    def _group(self) -> FaultCgroup:
        return FaultCgroup(self.node, "hog")

    def precheck(self) -> None:
        """Require that the node is on and has the controller."""
        self.require_up()
        controller(self.node, "cpu")

    def apply(self) -> None:
        """Start them."""
        self._group.make()
        cpu = controller(self.node, "cpu").below("fault-hog")
        if cpu.version == 2:
            cpu.write("cpu.weight", str(100 * self.weight))
        else:
            cpu.write("cpu.shares", str(1024 * self.weight))
        self._started = [self._group.start(_BUSY) for _ in range(self.processes)]

    def evidence(self) -> str:
        """Check that all of them are there, and that they use CPU time."""

        def there() -> int | NotYet:
            found = len(self._busy())
            return found if found >= self.processes else NotYet(f"{found} processes are there")

        wait_for(
            there,
            state=f"{self.processes} busy processes on {self.node.name}",
            within=_TAKES_EFFECT_WITHIN,
            every=0.01,
        )
        first, since = self._cpu_time(), time.monotonic()

        def running() -> float | NotYet:
            more = self._cpu_time() - first
            return more if more >= 0.01 else NotYet(f"they have run for {more:g} s")

        used = wait_for(running, state="them to run", within=_TAKES_EFFECT_WITHIN, every=0.01)
        return (
            f"{self.processes} processes on {self.node.name} used {used:.3f} s of CPU "
            f"in {time.monotonic() - since:.3f} s"
        )

    def undo(self) -> None:
        """End them."""
        gone = self._group.end()
        for process in self._started:
            reap(process)
        self._started.clear()
        if not gone:
            raise LabError(f"busy processes on {self.node.name} cannot be killed")

    def evidence_of_healing(self) -> str:
        """Check that none is left."""
        if left := self._group.processes():
            raise FaultError(f"{len(left)} busy processes are left on {self.node.name}")
        return f"no busy process is left on {self.node.name}"

    def _busy(self) -> set[int]:
        """Those that run on the node: the nsenter processes are in the group too."""
        entering = {process.pid for process in self._started}
        return self._group.processes() - entering

    def _cpu_time(self) -> float:
        """Seconds of CPU that the group has used."""
        cpu = controller(self.node, "cpu")
        if cpu.version == 2:
            return cpu.below("fault-hog").counter("cpu.stat", "usage_usec") / 1e6
        return int(controller(self.node, "cpuacct").below("fault-hog").read("cpuacct.usage")) / 1e9


def _quota_file(cpu: Controller) -> str:
    return "cpu.max" if cpu.version == 2 else "cpu.cfs_quota_us"


def _set_quota(cpu: Controller, quota: int | None) -> None:
    if cpu.version == 2:
        cpu.write("cpu.max", f"{'max' if quota is None else quota} {_PERIOD}")
        return
    if quota is not None:
        cpu.write("cpu.cfs_period_us", str(_PERIOD))
    cpu.write("cpu.cfs_quota_us", str(-1 if quota is None else quota))


def _quota(cpu: Controller) -> int | None:
    if cpu.version == 2:
        word = cpu.read("cpu.max").split()[0]
        return None if word == "max" else int(word)
    quota = int(cpu.read("cpu.cfs_quota_us"))
    return None if quota < 0 else quota
