"""Signals: dockerd ended or stopped, a whole node frozen, containerd killed."""

from __future__ import annotations

import signal
from pathlib import Path

from harness.errors import FaultError, HarnessError, LabError, UsageError
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import Parameter, choice
from harness.faults.process.processes import containerd_of, has_ended
from harness.lab import Node
from harness.lab.processes import Process
from harness.swarm import ask
from harness.trial import Trial
from harness.wait import NotYet, wait_for

#: By which dockerd ends: it cleans up on the first two, the Go runtime dies of the others.
DEADLY = ("TERM", "INT", "QUIT", "ABRT", "SEGV", "KILL")

#: Seconds for dockerd to end: on TERM it gives its containers 15 s (moby daemon.Shutdown), and
#: each its own grace period.
_ENDS_WITHIN = 60.0

#: Seconds in which dockerd has containerd back; 26.1.5 was seen to take 10 to 11.
_BACK_WITHIN = 60.0

_TAKES_EFFECT_WITHIN = 5.0


class DockerdSignalled(NodeFault):
    """dockerd ends by a signal of choice. Healed by a start."""

    name = "dockerd-signalled"
    summary = "dockerd ends by a signal: in order (TERM, INT) or at once. Healed by a start."
    parameters = (
        Parameter("signal", choice(*DEADLY), "", f"one of {', '.join(DEADLY)}", default="TERM"),
    )
    proof = "the pid is gone and the API refuses; healed: the API answers"
    excludes = ("dockerd's process",)
    recorded = ("signal", "pid")

    def __init__(self, trial: Trial, node: Node, *, signal: str = "TERM") -> None:
        super().__init__(trial, node)
        if signal not in DEADLY:
            raise UsageError(
                f"dockerd does not end by the signal {signal!r}",
                hint=f"one of: {', '.join(DEADLY)}",
            )
        self.signal = signal
        self.pid = 0

    def precheck(self) -> None:
        """dockerd must be running."""
        self.require_dockerd()
        self.pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Send the signal and wait until the process has ended."""
        process = Process(self.pid, f"dockerd on {self.node.name}")
        try:
            process.signal(signal.Signals[f"SIG{self.signal}"])
            process.wait_gone(_ENDS_WITHIN)
        finally:
            process.close()

    def evidence(self) -> str:
        """The process is gone and the API does not answer."""
        if self.node.dockerd.alive or self.node.dockerd.ping(timeout=0.5):
            raise FaultError(f"dockerd on {self.node.name} still runs or answers")
        return f"pid {self.pid} is gone, the API refuses"

    def undo(self) -> None:
        """Start it again over the same state."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """The API answers."""
        return self.answers()


class DockerdPaused(NodeFault):
    """dockerd is stopped by SIGSTOP; its sockets stay open, its containers run on."""

    name = "dockerd-paused"
    summary = "dockerd gets SIGSTOP: connections stay open and nobody answers. Healed by SIGCONT."
    proof = "every thread is in state T and _ping goes unanswered; healed: the API answers"
    excludes = ("dockerd's process",)
    recorded = ("pid",)
    remembers = ("pid",)

    def __init__(self, trial: Trial, node: Node) -> None:
        super().__init__(trial, node)
        self.pid = 0

    def precheck(self) -> None:
        """dockerd must be running."""
        self.require_dockerd()
        self.pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Stop it."""
        self.node.dockerd.signal(signal.SIGSTOP)

    def evidence(self) -> str:
        """All its threads are stopped, and the API is silent."""

        def stopped() -> bool | NotYet:
            states = _states_of_threads(self.pid)
            return states == {"T"} or NotYet(f"its threads are in {sorted(states)}")

        wait_for(stopped, state=f"pid {self.pid} to stop", within=_TAKES_EFFECT_WITHIN, every=0.005)
        if self.node.dockerd.ping(timeout=0.3):
            raise FaultError(f"dockerd on {self.node.name} answers, stopped as it is")
        return f"pid {self.pid} is in state T, the API is silent"

    def undo(self) -> None:
        """Have it go on; one that was killed meanwhile is started again."""
        if self.node.up and self.node.dockerd.alive:
            self.node.dockerd.signal(signal.SIGCONT)
        else:
            self.node.start()

    def evidence_of_healing(self) -> str:
        """It is not stopped, and the API answers."""
        said = self.answers()
        if "T" in _states_of_threads(self.node.dockerd.pid):
            raise FaultError(f"dockerd on {self.node.name} is still stopped")
        return said


class NodePaused(NodeFault):
    """All of a node stands still: dockerd, containerd, shims and tasks. Its network stays."""

    name = "node-paused"
    summary = "Every process of a node is frozen at once, as by a stalled hypervisor."
    needs = ("cgroup2",)
    proof = "cgroup.events says frozen and _ping goes unanswered; healed: not frozen, it answers"
    excludes = ("dockerd's process",)

    def precheck(self) -> None:
        """The node must be on, and the kernel must have the freezer of cgroup 2."""
        self.require_dockerd()
        if self._events() is None:
            raise FaultError("a node is frozen by cgroup 2 (Linux 5.2), which is not there")

    def apply(self) -> None:
        """Freeze it."""
        self._freeze("1")

    def evidence(self) -> str:
        """The kernel says that all are frozen, and the API is silent."""
        self._wait("1")
        if self.node.dockerd.ping(timeout=0.3):
            raise FaultError(f"dockerd on {self.node.name} answers, frozen as it is")
        return f"cgroup.events of {self.node.name} says frozen 1, the API is silent"

    def undo(self) -> None:
        """Thaw it; a node that was killed meanwhile is switched on."""
        if self.node.up:
            self._freeze("0")
        self.restore()

    def evidence_of_healing(self) -> str:
        """The kernel says that none is frozen, and the API answers."""
        self._wait("0")
        return self.answers()

    def _freeze(self, word: str) -> None:
        group = self.node.groups.unified
        assert group is not None
        try:
            (group / "cgroup.freeze").write_text(word)
        except OSError as error:
            raise LabError(f"cannot freeze or thaw {self.node.name}: {error.strerror}") from error

    def _events(self) -> Path | None:
        group = self.node.groups.unified
        here = group is not None and (group / "cgroup.freeze").exists()
        return group / "cgroup.events" if group is not None and here else None

    def _wait(self, word: str) -> None:
        events = self._events()
        assert events is not None
        wanted = f"frozen {word}"

        def so() -> bool | NotYet:
            said = events.read_text().splitlines()
            return wanted in said or NotYet(f"cgroup.events says {', '.join(said)}")

        wait_for(so, state=f"{self.node.name}: {wanted}", within=_TAKES_EFFECT_WITHIN, every=0.005)


class ContainerdKilled(NodeFault):
    """SIGKILL for the containerd below dockerd, which starts another. Containers live on."""

    name = "containerd-killed"
    summary = (
        "containerd gets SIGKILL; containers live on under their shims, dockerd starts another."
    )
    proof = "the pid is gone; healed: there is another, and dockerd has asked its version"
    recorded = ("pid",)
    remembers = ("pid",)

    def __init__(self, trial: Trial, node: Node) -> None:
        super().__init__(trial, node)
        self.pid = 0

    def precheck(self) -> None:
        """dockerd must be running, with a containerd of its own."""
        self.require_dockerd()
        process = containerd_of(self.node)
        self.pid = process.pid
        process.close()

    def apply(self) -> None:
        """Kill it."""
        process = Process(self.pid, f"containerd on {self.node.name}")
        try:
            process.signal(signal.SIGKILL)
            process.wait_gone(_TAKES_EFFECT_WITHIN)
        finally:
            process.close()

    def evidence(self) -> str:
        """The process is gone."""
        if not has_ended(self.pid):
            raise FaultError(f"containerd (pid {self.pid}) is still there")
        return f"pid {self.pid} is gone"

    def undo(self) -> None:
        """Leave it to dockerd, which looks after its containerd; start it if it is down."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """There is another containerd, and dockerd tells its version, which it asks of it."""

        def back() -> int | NotYet:
            try:
                process = containerd_of(self.node)
                process.close()
                told = ask(self.node, lambda api: api.info())["ContainerdCommit"]["ID"]
            except HarnessError as error:
                return NotYet(error.what)
            if process.pid == self.pid:
                return NotYet("it is the old one")
            return NotYet("dockerd has no word from it") if told in ("", "N/A") else process.pid

        pid = wait_for(
            back, state=f"another containerd on {self.node.name}", within=_BACK_WITHIN, every=0.05
        )
        return f"containerd is back as pid {pid}, dockerd has asked it"


def _states_of_threads(pid: int) -> set[str]:
    states = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            states.add(thread.read_text().rpartition(") ")[2][0])
        except OSError:
            continue  # it ended just now
    return states
