"""Tables that run full: dockerd's file descriptors, a node's processes, inotify's instances."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from pathlib import Path
from typing import Any

from harness.errors import FaultError, LabError
from harness.faults.fault import Fault
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import Parameter, number
from harness.faults.resource.controllers import controller
from harness.faults.resource.whole_lab import require_own_kernel
from harness.lab import Node
from harness.lab.dockerd import NAMESPACES, environment
from harness.lab.nsenter import complete, entering, joining
from harness.swarm import Swarm
from harness.trial import Trial

_SPARE = Parameter("spare", number, "", "how many more there may be", default="0")
_STANDARD = 3  # input, output and errors
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")


class DescriptorsExhausted(NodeFault):
    """dockerd can open no more files and accept no more connections; what is open stays."""

    name = "descriptors-exhausted"
    summary = "dockerd gets no more file descriptors: no file can be opened, no call accepted."
    parameters = (_SPARE,)
    proof = "its limit is set and no connection is taken; healed: its limit is as it was"
    excludes = ("dockerd's limits",)
    recorded = ("spare", "pid", "limit")
    remembers = ("pid", "former")

    def __init__(self, trial: Trial, node: Node, *, spare: int = 0) -> None:
        super().__init__(trial, node)
        self.spare = spare
        self.pid = 0
        self.limit = 0
        self.former = [0, 0]

    def precheck(self) -> None:
        """dockerd must be running."""
        self.require_dockerd()
        self.pid = self.node.dockerd.pid
        self.former = list(resource.prlimit(self.pid, resource.RLIMIT_NOFILE))

    def apply(self) -> None:
        """Lower its limit below every descriptor it may get, or to so many above the next.

        A limit is for numbers and not for a count: one that is closed can be had again, unless
        the limit is below it. The first three are never closed.
        """
        self.limit = _lowest_free(self.pid) + self.spare if self.spare else _STANDARD
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (self.limit, self.former[1]))

    def evidence(self) -> str:
        """The limit is set; without any to spare, no connection is taken."""
        soft, _ = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        if soft != self.limit:
            raise FaultError(f"the limit of dockerd on {self.node.name} is {soft}")
        if self.spare == 0 and self.node.dockerd.ping(timeout=0.3):
            raise FaultError(f"dockerd on {self.node.name} still takes connections")
        open_ = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        return f"dockerd on {self.node.name} has {open_} descriptors, its limit is {self.limit}"

    def undo(self) -> None:
        """Give it back its limit; another process has one of its own."""
        if self._same():
            soft, hard = self.former
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.restore()

    def evidence_of_healing(self) -> str:
        """Its limit is as it was, and the API answers."""
        if self._same() and list(now := _limits(self.pid)) != self.former:
            raise FaultError(f"the limit of dockerd on {self.node.name} is {now[0]}")
        return f"dockerd on {self.node.name} may have {self.former[0]} again, {self.answers()}"

    def _same(self) -> bool:
        return self.node.up and self.node.dockerd.alive and self.node.dockerd.pid == self.pid


class ProcessesExhausted(NodeFault):
    """A node gets no more processes and threads: no container starts, Go dies of it."""

    name = "processes-exhausted"
    summary = "A node gets no more processes and threads; dockerd dies when it wants a thread."
    parameters = (_SPARE,)
    needs = ("the cgroup controller pids",)
    proof = "a fork among the node's processes fails; healed: one succeeds"
    recorded = ("spare", "limit")

    def __init__(self, trial: Trial, node: Node, *, spare: int = 0) -> None:
        super().__init__(trial, node)
        self.spare = spare
        self.limit = 0

    def precheck(self) -> None:
        """The node must be on and have the controller."""
        self.require_up()
        controller(self.node, "pids")

    def apply(self) -> None:
        """Set the limit to what there is."""
        pids = controller(self.node, "pids")
        self.limit = int(pids.read("pids.current")) + self.spare
        pids.write("pids.max", str(self.limit))

    def evidence(self) -> str:
        """A fork fails, for this reason."""
        pids = controller(self.node, "pids")
        if pids.read("pids.max") != str(self.limit):
            raise FaultError(f"the limit of {self.node.name} is {pids.read('pids.max')}")
        if self.spare == 0 and self._can_fork():
            raise FaultError(f"processes of {self.node.name} can still fork")
        return f"{self.node.name} has {pids.read('pids.current')} tasks of {self.limit}"

    def undo(self) -> None:
        """Lift the limit; a dockerd that died of it is started."""
        if self.node.up:
            controller(self.node, "pids").write("pids.max", "max")
        self.restore()

    def evidence_of_healing(self) -> str:
        """A fork succeeds, and the API answers."""
        if not self._can_fork():
            raise FaultError(f"processes of {self.node.name} cannot fork")
        return f"processes of {self.node.name} can fork, {self.answers()}"

    def _can_fork(self) -> bool:
        """Whether a member of the node's group can fork: a shell that runs two programs does."""
        script = ["sh", "-c", "/bin/true; /bin/true; exit 0"]
        entered = entering(self.node.pid, NAMESPACES, script)
        # Joined inside, for the door-keeper forks too: it would fail before the node is asked.
        done = complete(
            joining(self.node.groups.leaves(), entered),
            shown=script,
            where=self.node.name,
            env=environment(self.node.engine),
            timeout=20.0,
        )
        return done.code == 0


class InotifyExhausted(Fault):
    """No process of the lab gets an inotify instance: logs cannot be followed by it.

    The kernel counts them by user and not by namespace, and all nodes run as root: it happens to
    all nodes at once, and only where the kernel is the lab's own.
    """

    name = "inotify-exhausted"
    summary = "No process of the lab gets another inotify instance (its count is the kernel's)."
    acts_on = "swarm"
    needs = ("a kernel of the lab's own (microvm)",)
    proof = "inotify_init fails with EMFILE; healed: it succeeds"
    remembers = ("former",)

    def __init__(self, trial: Trial, swarm: Swarm) -> None:
        super().__init__(trial)
        self.swarm = swarm
        self.former = ""

    def describe(self) -> dict[str, Any]:
        """All nodes."""
        return {"target": "all nodes"}

    def precheck(self) -> None:
        """The kernel must be the lab's own."""
        require_own_kernel(self.swarm.lab, "inotify's instances are counted by user")
        try:
            self.former = _INSTANCES.read_text().strip()
        except OSError as error:
            raise FaultError(f"this kernel does not count inotify instances: {error}") from error

    def apply(self) -> None:
        """Allow no more."""
        _INSTANCES.write_text("0\n")

    def evidence(self) -> str:
        """One more is refused."""
        if (code := _inotify()) != errno.EMFILE:
            raise FaultError(f"inotify_init: {errno.errorcode.get(code, 'succeeds')}")
        return "inotify_init fails with EMFILE"

    def undo(self) -> None:
        """Allow as many as before."""
        _INSTANCES.write_text(f"{self.former}\n")

    def evidence_of_healing(self) -> str:
        """One more is granted."""
        if code := _inotify():
            raise FaultError(f"inotify_init: {errno.errorcode.get(code, str(code))}")
        return "inotify_init succeeds"


def _lowest_free(pid: int) -> int:
    try:
        open_ = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError as error:
        raise LabError(f"process {pid} is gone: {error.strerror}") from error
    return next(number for number in range(len(open_) + 1) if number not in open_)


def _limits(pid: int) -> tuple[int, int]:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


def _inotify() -> int:
    """The error number of one inotify_init, 0 when it succeeds."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return ctypes.get_errno()
    os.close(descriptor)
    return 0
