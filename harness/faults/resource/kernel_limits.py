"""Kernel limits: dockerd's file descriptors, a node's processes, inotify instances."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from pathlib import Path

from harness.errors import FaultError, LabError
from harness.faults.fault import Fault
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import COUNT, parameter, state, target
from harness.faults.resource.controllers import controller
from harness.faults.resource.whole_lab import require_own_kernel
from harness.lab.dockerd import NAMESPACES, environment
from harness.lab.nsenter import complete, entering, joining
from harness.swarm import Swarm

_SPARE = COUNT.between("0")
_SPARE_HELP = "how many more there may be"
_STANDARD = 3  # input, output and errors
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")


class DescriptorsExhausted(NodeFault):
    """dockerd can open no more files and accept no more connections; what is open stays."""

    name = "descriptors-exhausted"
    summary = "dockerd gets no more file descriptors: no file can be opened, no call accepted."
    proof = "its limit is set and no connection is accepted; healed: its limit is as it was"
    may_end_dockerd = True
    excludes = ("dockerd's limits",)
    recorded = ("pid", "limit")
    needed_to_heal = ("pid", "former")

    spare: int = parameter(_SPARE, _SPARE_HELP, default="0")
    pid: int = state(0)
    limit: int = state(0)
    former: list[int] = state(factory=lambda: [0, 0])

    def precheck(self) -> None:
        """Require a running dockerd."""
        self.require_dockerd()
        self.pid = self.node.dockerd.pid
        self.former = list(resource.prlimit(self.pid, resource.RLIMIT_NOFILE))

    def apply(self) -> None:
        """Lower its limit below every descriptor it may get, or to ``spare`` above the next one.

        The limit is on descriptor numbers and not on their count: one that is closed can be used
        again, unless the limit is below it. The first three are never closed.
        """
        self.limit = _lowest_free(self.pid) + self.spare if self.spare else _STANDARD
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (self.limit, self.former[1]))

    def evidence(self) -> str:
        """Check that the limit is set and, with none to spare, that no connection is accepted."""
        soft, _ = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        if soft != self.limit:
            raise FaultError(f"the limit of dockerd on {self.node.name} is {soft}")
        if self.spare == 0 and self.node.dockerd.ping(timeout=0.3):
            raise FaultError(f"dockerd on {self.node.name} still accepts connections")
        open_ = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        return f"dockerd on {self.node.name} has {open_} descriptors, its limit is {self.limit}"

    def undo(self) -> None:
        """Give its limit back; a dockerd started since has a limit of its own."""
        if self._same():
            soft, hard = self.former
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that its limit is as it was, and that the API answers."""
        if self._same() and list(now := _limits(self.pid)) != self.former:
            raise FaultError(f"the limit of dockerd on {self.node.name} is {now[0]}")
        return f"dockerd on {self.node.name} may have {self.former[0]} again, {self.answers()}"

    def _same(self) -> bool:
        return self.node.up and self.node.dockerd.alive and self.node.dockerd.pid == self.pid


class ProcessesExhausted(NodeFault):
    """A node gets no more processes and threads: no container starts, Go programs crash."""

    name = "processes-exhausted"
    summary = "A node gets no more processes and threads; dockerd crashes when it needs a thread."
    needs = ("the cgroup controller pids",)
    proof = "a fork among the node's processes fails; healed: one succeeds"
    may_end_dockerd = True
    recorded = ("limit",)

    spare: int = parameter(_SPARE, _SPARE_HELP, default="0")
    limit: int = state(0)

    def precheck(self) -> None:
        """Require that the node is on and has the controller."""
        self.require_up()
        controller(self.node, "pids")

    def apply(self) -> None:
        """Set the limit to the current number plus ``spare``."""
        pids = controller(self.node, "pids")
        self.limit = int(pids.read("pids.current")) + self.spare
        pids.write("pids.max", str(self.limit))

    def evidence(self) -> str:
        """Check that the limit is set and, with none to spare, that a fork fails."""
        pids = controller(self.node, "pids")
        if pids.read("pids.max") != str(self.limit):
            raise FaultError(f"the limit of {self.node.name} is {pids.read('pids.max')}")
        if self.spare == 0 and self._can_fork():
            raise FaultError(f"processes of {self.node.name} can still fork")
        return f"{self.node.name} has {pids.read('pids.current')} tasks of {self.limit}"

    def undo(self) -> None:
        """Remove the limit; a dockerd that died of it is started."""
        if self.node.up:
            controller(self.node, "pids").write("pids.max", "max")
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that a fork succeeds, and that the API answers."""
        if not self._can_fork():
            raise FaultError(f"processes of {self.node.name} cannot fork")
        return f"processes of {self.node.name} can fork, {self.answers()}"

    def _can_fork(self) -> bool:
        """Whether a member of the node's group can fork: a shell that runs two programs does."""
        script = ["sh", "-c", "/bin/true; /bin/true; exit 0"]
        entered = entering(self.node.here.pid, NAMESPACES, script)
        # Joined inside, for nsenter forks too: it would fail before it is in the node.
        done = complete(
            joining(self.node.here.groups.leaves(), entered),
            shown=script,
            where=self.node.name,
            env=environment(self.node.engine),
            timeout=20.0,
        )
        return done.code == 0


class InotifyExhausted(Fault):
    """No process of the lab gets an inotify instance: logs cannot be followed.

    The kernel counts them by user and not by namespace, and all nodes run as root: it happens to
    all nodes at once, and only where the kernel is the lab's own.
    """

    name = "inotify-exhausted"
    summary = "No process of the lab gets another inotify instance (its count is the kernel's)."
    acts_on = "swarm"
    needs = ("a kernel of the lab's own (microvm)",)
    proof = "inotify_init fails with EMFILE; healed: it succeeds"
    needed_to_heal = ("former",)

    swarm: Swarm = target(kw_only=False)
    former: str = state("")

    @property
    def target_name(self) -> str:
        """All nodes: they share the kernel's count."""
        return "all nodes"

    def precheck(self) -> None:
        """Require a kernel of the lab's own."""
        require_own_kernel(self.swarm.lab, "inotify instances are counted by user")
        try:
            self.former = _INSTANCES.read_text().strip()
        except OSError as error:
            raise FaultError(f"this kernel does not count inotify instances: {error}") from error

    def apply(self) -> None:
        """Allow no more."""
        _INSTANCES.write_text("0\n")

    def evidence(self) -> str:
        """Check that one more is refused."""
        if (code := _inotify()) != errno.EMFILE:
            raise FaultError(f"inotify_init: {errno.errorcode.get(code, 'succeeds')}")
        return "inotify_init fails with EMFILE"

    def undo(self) -> None:
        """Allow as many as before."""
        _INSTANCES.write_text(f"{self.former}\n")

    def evidence_of_healing(self) -> str:
        """Check that one more is granted."""
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
