"""Signals: dockerd ended or stopped, a whole node frozen, containerd killed."""

from __future__ import annotations

import signal
from pathlib import Path

from harness.errors import FaultError, HarnessError, LabError
from harness.faults.node_fault import DOCKERD, ENDS_WITHIN, NodeFault
from harness.faults.parameter import one_of, parameter, state
from harness.faults.process.processes import containerd_of
from harness.lab.dockerd import DEADLY
from harness.swarm import ask
from harness.wait import NotYet, wait_for

#: Seconds in which dockerd has containerd back; 26.1.5 was seen to take 10 to 11.
_BACK_WITHIN = 60.0

_TAKES_EFFECT_WITHIN = 5.0


class DockerdSignalled(NodeFault):
    """dockerd is ended by a given signal. Healed by a start."""

    name = "dockerd-signalled"
    summary = "Ends dockerd by a signal: gracefully (TERM, INT) or at once. Healed by a start."
    proof = "the pid is gone and the API refuses connections; healed: the API answers"
    excludes = (DOCKERD,)
    recorded = ("pid",)

    signal: str = parameter(
        one_of(*DEADLY), f"one of {', '.join(DEADLY)}", default="TERM", kw_only=False
    )
    pid: int = state(0)

    def precheck(self) -> None:
        """Require a running dockerd."""
        self.require_dockerd()
        self.pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Send the signal and wait until the process has ended."""
        self.node.dockerd.end(signal.Signals[f"SIG{self.signal}"], ENDS_WITHIN)

    def evidence(self) -> str:
        """Check that the process is gone and the API does not answer."""
        if self.node.dockerd.alive or self.node.dockerd.ping(timeout=0.5):
            raise FaultError(f"dockerd on {self.node.name} still runs or answers")
        return f"pid {self.pid} is gone, the API refuses connections"

    def undo(self) -> None:
        """Start it again over the same state."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the API answers."""
        return self.answers()


class DockerdPaused(NodeFault):
    """dockerd is stopped by SIGSTOP; its sockets stay open, its containers run on."""

    name = "dockerd-paused"
    summary = "Stops dockerd by SIGSTOP: connections stay open, unanswered. Healed by SIGCONT."
    proof = "every thread is in state T and _ping goes unanswered; healed: the API answers"
    excludes = (DOCKERD,)
    recorded = ("pid",)
    needed_to_heal = ("pid",)

    pid: int = state(0)

    def precheck(self) -> None:
        """Require a running dockerd."""
        self.require_dockerd()
        self.pid = self.node.dockerd.pid

    def apply(self) -> None:
        """Stop it."""
        self.node.dockerd.signal(signal.SIGSTOP)

    def evidence(self) -> str:
        """Check that all its threads are stopped, and that the API does not answer."""

        def stopped() -> bool | NotYet:
            states = _states_of_threads(self.pid)
            return states == {"T"} or NotYet(f"its threads are in {sorted(states)}")

        wait_for(stopped, state=f"pid {self.pid} to stop", within=_TAKES_EFFECT_WITHIN, every=0.005)
        if self.node.dockerd.ping(timeout=0.3):
            raise FaultError(f"dockerd on {self.node.name} answers although it is stopped")
        return f"pid {self.pid} is in state T, the API does not answer"

    def undo(self) -> None:
        """Continue it; one that was killed meanwhile is started again."""
        if self.node.up and self.node.dockerd.alive:
            self.node.dockerd.signal(signal.SIGCONT)
        else:
            self.node.start()

    def evidence_of_healing(self) -> str:
        """Check that it is not stopped, and that the API answers."""
        answered = self.answers()
        if "T" in _states_of_threads(self.node.dockerd.pid):
            raise FaultError(f"dockerd on {self.node.name} is still stopped")
        return answered


class NodePaused(NodeFault):
    """All of a node is frozen: dockerd, containerd, shims and tasks. Its network stays."""

    name = "node-paused"
    summary = "Every process of a node is frozen at once, as by a stalled hypervisor."
    needs = ("cgroup2",)
    proof = "cgroup.events says frozen and _ping goes unanswered; healed: not frozen, it answers"
    excludes = (DOCKERD,)

    def precheck(self) -> None:
        """Require that the node is on, and that the kernel has the freezer of cgroup 2."""
        self.require_dockerd()
        if self._events() is None:
            raise FaultError("this kernel cannot freeze a node: it needs cgroup 2 (Linux 5.2)")

    def apply(self) -> None:
        """Freeze it."""
        self._freeze("1")

    def evidence(self) -> str:
        """Check that the kernel says that all are frozen, and that the API does not answer."""
        self._wait("1")
        if self.node.dockerd.ping(timeout=0.3):
            raise FaultError(f"dockerd on {self.node.name} answers although the node is frozen")
        return f"cgroup.events of {self.node.name} says frozen 1, the API does not answer"

    def undo(self) -> None:
        """Thaw it; a node that was killed meanwhile is switched on."""
        if self.node.up:
            self._freeze("0")
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the kernel says that none is frozen, and that the API answers."""
        self._wait("0")
        return self.answers()

    def _freeze(self, value: str) -> None:
        group = self.node.here.groups.unified
        assert group is not None
        try:
            (group / "cgroup.freeze").write_text(value)
        except OSError as error:
            raise LabError(f"cannot freeze or thaw {self.node.name}: {error.strerror}") from error

    def _events(self) -> Path | None:
        group = self.node.here.groups.unified
        here = group is not None and (group / "cgroup.freeze").exists()
        return group / "cgroup.events" if group is not None and here else None

    def _wait(self, value: str) -> None:
        events = self._events()
        assert events is not None
        wanted = f"frozen {value}"

        def reached() -> bool | NotYet:
            lines = events.read_text().splitlines()
            return wanted in lines or NotYet(f"cgroup.events says {', '.join(lines)}")

        wait_for(
            reached, state=f"{self.node.name}: {wanted}", within=_TAKES_EFFECT_WITHIN, every=0.005
        )


class ContainerdKilled(NodeFault):
    """SIGKILL for the containerd below dockerd, which starts another. Containers live on."""

    name = "containerd-killed"
    summary = (
        "containerd gets SIGKILL; containers live on under their shims, dockerd starts another."
    )
    proof = "the pid is gone; healed: there is another, and dockerd reports its version"
    recorded = ("pid",)
    needed_to_heal = ("pid",)

    pid: int = state(0)

    def precheck(self) -> None:
        """Require a running dockerd, with a containerd of its own."""
        self.require_dockerd()
        process = containerd_of(self.node)
        self.pid = process.pid
        process.close()

    def apply(self) -> None:
        """Kill it."""
        process = containerd_of(self.node)
        self.pid = process.pid
        try:
            process.signal(signal.SIGKILL)
            process.wait_gone(_TAKES_EFFECT_WITHIN)
        finally:
            process.close()

    def evidence(self) -> str:
        """Check that the process is gone."""
        now = self.node.dockerd.child("containerd", "docker-containe")
        if now is not None:
            now.close()
            if now.pid == self.pid:
                raise FaultError(f"containerd (pid {self.pid}) is still there")
        return f"pid {self.pid} is gone"

    def undo(self) -> None:
        """Leave it to dockerd, which supervises its containerd; start dockerd if it is down."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that there is another containerd, and that dockerd got its version."""

        def back() -> int | NotYet:
            try:
                process = containerd_of(self.node)
                process.close()
                commit = ask(self.node, lambda api: api.info())["ContainerdCommit"]["ID"]
            except HarnessError as error:
                return NotYet(error.what)
            if process.pid == self.pid:
                return NotYet("it is the old one")
            if commit in ("", "N/A"):
                return NotYet("dockerd does not know its version yet")
            return process.pid

        starving = self.starved_by()
        still = "" if starving is None else f", where {starving} is still injected"
        pid = wait_for(
            back,
            state=f"another containerd on {self.node.name}{still}",
            within=self.patience(_BACK_WITHIN),
            every=0.05,
        )
        return f"containerd is back as pid {pid}, dockerd has its version"


def _states_of_threads(pid: int) -> set[str]:
    states = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            states.add(thread.read_text().rpartition(") ")[2][0])
        except OSError:
            continue  # it ended just now
    return states
