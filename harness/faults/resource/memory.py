"""Memory: a node with little of it, dockerd kept short, and memory that is taken and held."""

from __future__ import annotations

from pathlib import Path

from harness.errors import FaultError, LabError, UsageError
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import Parameter, size
from harness.faults.resource.controllers import Company, Controller, controller
from harness.lab import Node
from harness.lab.dockerd import NAMESPACES, environment
from harness.lab.nsenter import complete, entering, joining
from harness.trial import Trial

_MIB = 1 << 20

#: A dockerd alone takes about 100 MiB, a node with tasks 150 and more.
_SMALLEST_NODE = 32 * _MIB
_LARGEST = 1 << 40
_PAGE = 4096

#: Where memory is held: a file on a tmpfs of the node's, which dies with it.
_HELD = "/dev/shm/held-by-swarm-chaos"


class MemoryLimited(NodeFault):
    """All processes of a node together get so much memory; beyond it the kernel kills."""

    name = "memory-limited"
    summary = "All processes of a node together get so much memory; beyond it the kernel kills."
    parameters = (Parameter("limit", size, "B", "memory for the whole node, tasks included"),)
    needs = ("the cgroup controller memory",)
    proof = "the kernel gives the limit back and charges the node for less; healed: no limit"
    excludes = ("the memory limit",)
    recorded = ("limit",)

    def __init__(self, trial: Trial, node: Node, *, limit: float) -> None:
        super().__init__(trial, node)
        if not _SMALLEST_NODE <= limit <= _LARGEST:
            raise UsageError(
                f"a node cannot live with {limit / _MIB:g} MiB",
                hint=f"at least {_SMALLEST_NODE // _MIB} MiB, at most 1024 GiB",
            )
        self.limit = int(limit) // _PAGE * _PAGE

    def precheck(self) -> None:
        """The node must be on and have the controller."""
        self.require_up()
        controller(self.node, "memory")

    def apply(self) -> None:
        """Set the limit; what can be reclaimed for it is."""
        _limit(controller(self.node, "memory"), self.limit)

    def evidence(self) -> str:
        """The limit is set and kept."""
        return _kept(controller(self.node, "memory"), self.limit, self.node.name)

    def undo(self) -> None:
        """Lift it; a node that was switched off has none. A dockerd that was killed is started."""
        if self.node.up:
            _limit(controller(self.node, "memory"), None)
        self.restore()

    def evidence_of_healing(self) -> str:
        """No limit is set, and the API answers."""
        if _limit_of(controller(self.node, "memory")) is not None:
            raise FaultError(f"{self.node.name} has still a memory limit")
        return f"{self.node.name} has no memory limit, {self.answers()}"


class DockerdMemoryLimited(NodeFault):
    """dockerd alone may take so much more memory than it has, and is killed beyond that.

    The kernel does not count again what a process has already: the limit is for what is new.
    """

    name = "dockerd-memory-limited"
    summary = "dockerd may take so much more memory than it has; beyond it the kernel kills it."
    parameters = (Parameter("room", size, "B", "what it may take more than it has now"),)
    needs = ("the cgroup controller memory",)
    proof = "dockerd is in a group with that limit; healed: it is with the node's others again"
    excludes = ("dockerd's cgroup",)
    recorded = ("room", "pid")
    remembers = ("pid",)

    def __init__(self, trial: Trial, node: Node, *, room: float) -> None:
        super().__init__(trial, node)
        if not _MIB <= room <= _LARGEST:
            raise UsageError(f"a room of {room:g} bytes cannot be", hint="from 1MiB to 1024 GiB")
        self.room = int(room) // _PAGE * _PAGE
        self.pid = 0
        self._company = Company(node, "dockerd")

    def precheck(self) -> None:
        """dockerd must be running, the controller there."""
        self.require_dockerd()
        controller(self.node, "memory")
        self.pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Give it a group of its own."""
        self._company.make()
        _limit(self._memory(), self.room)
        self._company.adopt(self.pid)

    def evidence(self) -> str:
        """It is in that group, and the group has that limit."""
        if self.pid not in self._company.processes():
            raise FaultError(f"dockerd on {self.node.name} is not in the group with the limit")
        return _kept(self._memory(), self.room, f"dockerd on {self.node.name}")

    @property
    def killed(self) -> int:
        """How often the kernel has killed something for want of memory since the injection."""
        memory = self._memory()
        file = "memory.events" if memory.version == 2 else "memory.oom_control"
        return memory.counter(file, "oom_kill")

    def undo(self) -> None:
        """Put it back with the others and remove the group; one that was killed is started."""
        if self.node.up:
            if self.node.dockerd.alive and self.pid in self._company.processes():
                self._company.release(self.pid)
            if not self._company.end():
                raise LabError(f"the group of dockerd on {self.node.name} does not go away")
        self.restore()

    def evidence_of_healing(self) -> str:
        """The group is gone, and the API answers."""
        if any(group.is_dir() for group in self._company.groups):
            raise FaultError(f"dockerd on {self.node.name} has still a group of its own")
        return f"no limit is left for dockerd, {self.answers()}"

    def _memory(self) -> Controller:
        return controller(self.node, "memory").below("fault-dockerd")


class MemoryHeld(NodeFault):
    """So much of a node's memory is taken and held; it cannot be reclaimed, nor swapped."""

    name = "memory-held"
    summary = "So much of a node's memory is taken and held; it counts against the node's limit."
    parameters = (Parameter("amount", size, "B", "how much is held"),)
    needs = ("the cgroup controller memory",)
    proof = "the kernel charges the node for it; healed: it is free again"
    recorded = ("amount",)
    remembers = ("before",)

    def __init__(self, trial: Trial, node: Node, *, amount: float) -> None:
        super().__init__(trial, node)
        if not _PAGE <= amount <= _LARGEST:
            raise UsageError(f"{amount:g} bytes cannot be held", hint="from 4KiB to 1024 GiB")
        self.amount = int(amount) // _PAGE * _PAGE
        self.before = 0

    def precheck(self) -> None:
        """The node must be on, and the machine must have so much to spare."""
        self.require_up()
        self.before = _shared(controller(self.node, "memory"))
        if self.amount > (free := _available()) // 2:
            raise FaultError(
                f"the machine has {free // _MIB} MiB to spare: "
                f"{self.amount // _MIB} MiB would be felt outside of {self.node.name}"
            )

    def apply(self) -> None:
        """Write a file to memory, as a process of the node."""
        script = f'head -c {self.amount} /dev/zero >"{_HELD}"'
        complete(
            joining(
                self.node.groups.leaves(),
                entering(self.node.pid, NAMESPACES, ["sh", "-c", script]),
            ),
            shown=["sh", "-c", script],
            where=self.node.name,
            env=environment(self.node.engine),
            timeout=120.0,
        ).check(self.node.name)

    def evidence(self) -> str:
        """The node is charged for it."""
        held = _shared(controller(self.node, "memory")) - self.before
        if held < 0.95 * self.amount:
            raise FaultError(f"{self.node.name} holds {held} bytes, not {self.amount}")
        return f"{self.node.name} is charged for {held / _MIB:.1f} MiB more"

    def undo(self) -> None:
        """Remove the file; with the node it went by itself."""
        if self.node.up:
            _held_file(self.node).unlink(missing_ok=True)
        self.restore()

    def evidence_of_healing(self) -> str:
        """The node holds it no more."""
        if _held_file(self.node).exists():
            raise FaultError(f"{self.node.name} still holds the memory")
        left = _shared(controller(self.node, "memory")) - self.before
        if left > self.amount / 2:
            raise FaultError(f"{self.node.name} is still charged for {left} bytes more")
        return f"{self.node.name} holds it no more, {self.answers()}"


def _held_file(node: Node) -> Path:
    return Path(f"/proc/{node.pid}/root{_HELD}")


def _limit(memory: Controller, limit: int | None) -> None:
    if memory.version == 2:
        memory.write("memory.max", "max" if limit is None else str(limit))
    else:
        memory.write("memory.limit_in_bytes", str(-1 if limit is None else limit))


def _limit_of(memory: Controller) -> int | None:
    if memory.version == 2:
        word = memory.read("memory.max")
        return None if word == "max" else int(word)
    limit = int(memory.read("memory.limit_in_bytes"))
    return None if limit >= _LARGEST * 1024 else limit


def _kept(memory: Controller, limit: int, whose: str) -> str:
    """That a limit is set and kept, as evidence."""
    if (now := _limit_of(memory)) != limit:
        raise FaultError(f"the limit of {whose} is {now}, not {limit}")
    used = int(memory.read("memory.current" if memory.version == 2 else "memory.usage_in_bytes"))
    if used > limit:
        raise FaultError(f"{whose} has {used} bytes, more than its limit of {limit}")
    return f"{whose} is charged for {used / _MIB:.1f} of {limit / _MIB:.1f} MiB"


def _shared(memory: Controller) -> int:
    """Bytes of shared memory (tmpfs) a group and those below it are charged for."""
    key = "shmem" if memory.version == 2 else "total_shmem"
    return memory.counter("memory.stat", key)


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
