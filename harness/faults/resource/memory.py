"""Memory: a limit for a node, a limit for dockerd, and memory that is taken and held."""

from __future__ import annotations

from pathlib import Path

import psutil

from harness.errors import FaultError, LabError
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import SIZE, parameter, state
from harness.faults.resource.controllers import Controller, FaultCgroup, controller
from harness.lab import Node
from harness.lab.dockerd import NAMESPACES, environment
from harness.lab.nsenter import complete, entering, joining

_MIB = 1 << 20

_PAGE = 4096

#: What version 1 reports without a limit is about 2^63.
_UNLIMITED = 1 << 50

#: Where memory is held: a file on a tmpfs of the node's, which dies with it.
_HELD = "/dev/shm/held-by-swarm-chaos"


class MemoryLimited(NodeFault):
    """All processes of a node together get limited memory; beyond it the kernel kills."""

    name = "memory-limited"
    summary = "Limits the memory of all processes of a node together; beyond it the kernel kills."
    needs = ("the cgroup controller memory",)
    proof = "the kernel gives the limit back and charges the node for less; healed: no limit"
    may_end_dockerd = True
    excludes = ("the memory limit",)

    # A dockerd alone takes about 100 MiB, a node with tasks 150 and more.
    limit: float = parameter(
        SIZE.between("32MiB", "1024GiB"), "memory for the whole node, tasks included", kw_only=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limit = _pages(self.limit)

    def precheck(self) -> None:
        """Require that the node is on and has the controller."""
        self.require_up()
        controller(self.node, "memory")

    def apply(self) -> None:
        """Set the limit; what can be reclaimed for it is."""
        _limit(controller(self.node, "memory"), int(self.limit))

    def evidence(self) -> str:
        """Check that the limit is set and kept."""
        return _kept(controller(self.node, "memory"), int(self.limit), self.node.name)

    def undo(self) -> None:
        """Remove it (a node that was switched off has none); start a dockerd that was killed."""
        if self.node.up:
            _limit(controller(self.node, "memory"), None)
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that no limit is set, and that the API answers."""
        if _limit_of(controller(self.node, "memory")) is not None:
            raise FaultError(f"{self.node.name} still has a memory limit")
        return f"{self.node.name} has no memory limit, {self.answers()}"


class DockerdMemoryLimited(NodeFault):
    """dockerd may take a limited amount of memory beyond what it has, and is killed above that.

    The kernel does not count again what a process has already: the limit is for what is new.
    """

    name = "dockerd-memory-limited"
    summary = "Limits what dockerd may take beyond the memory it has; above it the kernel kills it."
    needs = ("the cgroup controller memory",)
    proof = "dockerd is in a cgroup with that limit; healed: it is in the node's own again"
    may_end_dockerd = True
    excludes = ("dockerd's cgroup",)
    recorded = ("pid",)
    needed_to_heal = ("pid",)

    room: float = parameter(
        SIZE.between("1MiB", "1024GiB"), "what it may take beyond what it has now", kw_only=False
    )
    pid: int = state(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.room = _pages(self.room)

    @property
    def _group(self) -> FaultCgroup:
        return FaultCgroup(self.node, "dockerd")

    def precheck(self) -> None:
        """Require a running dockerd and the controller."""
        self.require_dockerd()
        controller(self.node, "memory")
        self.pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Give it a cgroup of its own."""
        self._group.make()
        _limit(self._memory(), int(self.room))
        self._group.adopt(self.pid)

    def evidence(self) -> str:
        """Check that it is in that cgroup, and that this has the limit."""
        if self.pid not in self._group.processes():
            raise FaultError(f"dockerd on {self.node.name} is not in the group with the limit")
        return _kept(self._memory(), int(self.room), f"dockerd on {self.node.name}")

    @property
    def killed(self) -> int:
        """How often the kernel has killed a process for lack of memory since the injection."""
        memory = self._memory()
        file = "memory.events" if memory.version == 2 else "memory.oom_control"
        return memory.counter(file, "oom_kill")

    def undo(self) -> None:
        """Move it back to the others and remove the cgroup; if it was killed, start it."""
        if self.node.up and self.node.dockerd.alive and self.pid in self._group.processes():
            self._group.release(self.pid)
        if not self._group.end():  # a node that was switched off has left it behind, too
            raise LabError(f"the group of dockerd on {self.node.name} cannot be removed")
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the cgroup is gone, and that the API answers."""
        if any(group.is_dir() for group in self._group.groups):
            raise FaultError(f"dockerd on {self.node.name} still has a cgroup of its own")
        return f"no limit is left for dockerd, {self.answers()}"

    def _memory(self) -> Controller:
        return controller(self.node, "memory").below("fault-dockerd")


class MemoryHeld(NodeFault):
    """An amount of a node's memory is taken and held; it cannot be reclaimed, nor swapped."""

    name = "memory-held"
    summary = "Takes and holds an amount of a node's memory; it counts against the node's limit."
    needs = ("the cgroup controller memory",)
    proof = "the kernel charges the node for it; healed: it is free again"
    may_end_dockerd = True
    needed_to_heal = ("before",)

    amount: float = parameter(SIZE.between("4KiB", "1024GiB"), "how much is held", kw_only=False)
    before: int = state(0)
    """Bytes of shared memory that the node was charged for before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.amount = _pages(self.amount)

    def precheck(self) -> None:
        """Require that the node is on, and that the machine has twice as much to spare."""
        self.require_up()
        self.before = _shared(controller(self.node, "memory"))
        if self.amount > (free := psutil.virtual_memory().available) // 2:
            raise FaultError(
                f"the machine has {free // _MIB} MiB to spare: "
                f"{int(self.amount) // _MIB} MiB would affect more than {self.node.name}"
            )

    def apply(self) -> None:
        """Write a file to memory, as a process of the node."""
        script = f'head -c {self.amount} /dev/zero >"{_HELD}"'
        complete(
            joining(
                self.node.here.groups.leaves(),
                entering(self.node.here.pid, NAMESPACES, ["sh", "-c", script]),
            ),
            shown=["sh", "-c", script],
            where=self.node.name,
            env=environment(self.node.engine),
            timeout=120.0,
        ).check(self.node.name)

    def evidence(self) -> str:
        """Check that the node is charged for it."""
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
        """Check that the node no longer holds it."""
        if _held_file(self.node).exists():
            raise FaultError(f"{self.node.name} still holds the memory")
        left = _shared(controller(self.node, "memory")) - self.before
        if left > self.amount / 2:
            raise FaultError(f"{self.node.name} is still charged for {left} bytes more")
        return f"{self.node.name} no longer holds it, {self.answers()}"


def _pages(size: float) -> int:
    """A size rounded down to whole pages, as the kernel does."""
    return int(size) // _PAGE * _PAGE


def _held_file(node: Node) -> Path:
    return Path(f"/proc/{node.here.pid}/root{_HELD}")


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
    return None if limit >= _UNLIMITED else limit


def _kept(memory: Controller, limit: int, whose: str) -> str:
    """Check that a limit is set and kept, as evidence."""
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
