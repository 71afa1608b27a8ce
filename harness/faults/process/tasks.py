"""Tasks' processes: killed once, killed again and again, or left without their shim."""

from __future__ import annotations

import signal
import threading
import time
from typing import ClassVar

from harness.errors import FaultError, HarnessError
from harness.faults.node_fault import NodeFault
from harness.faults.parameter import DURATION, NAME, parameter, state
from harness.faults.process.processes import has_ended, shim_of, task_of
from harness.lab import Node
from harness.lab.processes import Process
from harness.swarm import ask
from harness.wait import NotYet, wait_for

#: Seconds for containerd to notice that a container or its shim has ended.
_NOTICED_WITHIN = 20.0

#: Seconds between two searches for a new task to kill.
_LOOK = 0.1


class _TaskFault(NodeFault):
    """A fault on one task's process: it happens once, and swarm makes up for it."""

    recorded: ClassVar[tuple[str, ...]] = ("container", "pid")
    needed_to_heal: ClassVar[tuple[str, ...]] = ("container", "pid")

    service: str = parameter(NAME, "the service whose task on the node it is", kw_only=False)
    container: str = state("")
    pid: int = state(0)

    def undo(self) -> None:
        """Do nothing: what has ended stays so, and swarm starts another where it decides."""

    def evidence_of_healing(self) -> str:
        """Check that the process is gone for good."""
        _require_gone(self.pid, f"the process of {self.service}")
        return f"{self.container[:12]} has ended; replacing the task is up to swarm"


class TaskKilled(_TaskFault):
    """SIGKILL for the first process of a task: it exits with 137 and is replaced."""

    name = "task-killed"
    summary = "The first process of a service's task gets SIGKILL; swarm starts another task."
    proof = "the process is gone and its container does not run; nothing is left to heal"

    def precheck(self) -> None:
        """Require a running task of the service on the node."""
        self.require_dockerd()
        self.container, process = task_of(self.node, self.service)
        self.pid = process.pid
        process.close()

    def apply(self) -> None:
        """Kill it."""
        _kill(self.pid, f"{self.service} on {self.node.name}")

    def evidence(self) -> str:
        """Check that the process is gone, and that the engine knows that the container ended."""
        _require_gone(self.pid, f"the process of {self.service}")
        _wait_ended(self.node, self.container)
        return f"pid {self.pid} is gone, the container {self.container[:12]} does not run"


class ShimKilled(_TaskFault):
    """SIGKILL for the shim of a task's container; the engine considers the container ended."""

    name = "shim-killed"
    summary = "The shim of a task's container gets SIGKILL; the engine considers the task ended."
    proof = "the shim is gone; healed: the process it held is gone too, nothing is orphaned"
    recorded = ("container", "pid", "shim")
    needed_to_heal = ("container", "pid", "shim")

    shim: int = state(0)

    def precheck(self) -> None:
        """Require a running task of the service on the node, under a shim."""
        self.require_dockerd()
        self.container, process = task_of(self.node, self.service)
        self.pid = process.pid
        process.close()
        process = shim_of(self.node, self.container)
        self.shim = process.pid
        process.close()

    def apply(self) -> None:
        """Kill it."""
        _kill(self.shim, f"a shim on {self.node.name}")

    def evidence(self) -> str:
        """Check that the shim is gone."""
        _require_gone(self.shim, "the shim")
        return f"shim {self.shim} of {self.container[:12]} is gone"

    def undo(self) -> None:
        """Kill what the shim held, if it still runs."""
        if not has_ended(self.pid):
            _kill(self.pid, f"{self.service} on {self.node.name}")


class TaskFlapping(NodeFault):
    """Whatever runs of a service on a node is killed as soon as it has lived for a while."""

    name = "task-flapping"
    summary = "Each task of a service on a node gets SIGKILL once it has lived for a while."
    proof = "a first task was killed; healed: the killing has ended, with its count"
    ends_with_process = True

    service: str = parameter(NAME, "the service whose tasks on the node they are", kw_only=False)
    lives: float = parameter(
        DURATION.between("0s", "1h"), "how long each task is left alive", default="2s"
    )
    kills: list[float] = state(factory=list)
    """When a task was killed, by the monotonic clock."""
    _over: threading.Event = state(factory=threading.Event)
    _thread: threading.Thread | None = state(None)

    def precheck(self) -> None:
        """Require a running task of the service on the node."""
        self.require_dockerd()
        _, process = task_of(self.node, self.service)
        process.close()

    def apply(self) -> None:
        """Start the thread that kills."""
        self.kills.clear()
        self._over.clear()
        self._thread = threading.Thread(target=self._kill_again, name=f"flap {self.service}")
        self._thread.start()

    def evidence(self) -> str:
        """Check that a first task has been killed."""
        wait_for(
            lambda: bool(self.kills) or NotYet("none was killed"),
            state=f"a task of {self.service} to be killed",
            within=self.lives + _NOTICED_WITHIN,
            every=0.05,
        )
        return f"a task of {self.service} on {self.node.name} was killed"

    def undo(self) -> None:
        """End the killing."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def evidence_of_healing(self) -> str:
        """Check that the killing has ended."""
        if self._thread is not None:
            raise FaultError(f"tasks of {self.service} are still being killed")
        return f"{len(self.kills)} tasks of {self.service} on {self.node.name} were killed"

    def _kill_again(self) -> None:
        since: dict[int, float] = {}
        while not self._over.wait(_LOOK):
            try:
                _, process = task_of(self.node, self.service)
            except HarnessError:
                continue  # none runs just now, or the API does not answer
            try:
                born = since.setdefault(process.pid, time.monotonic())
                if time.monotonic() - born >= self.lives:
                    process.signal(signal.SIGKILL)
                    process.wait_gone(_NOTICED_WITHIN)
                    self.kills.append(time.monotonic())
            except HarnessError:
                continue
            finally:
                process.close()


def _kill(pid: int, what: str) -> None:
    process = Process(pid, what)
    try:
        process.signal(signal.SIGKILL)
        process.wait_gone(_NOTICED_WITHIN)
    finally:
        process.close()


def _require_gone(pid: int, what: str) -> None:
    if not has_ended(pid):
        raise FaultError(f"{what} (pid {pid}) is still there")


def _wait_ended(node: Node, container: str) -> None:
    def ended() -> bool | NotYet:
        try:
            state = ask(node, lambda api: api.api.inspect_container(container))["State"]
        except HarnessError as error:
            if "No such container" in error.what:
                return True
            return NotYet(error.what)
        return NotYet("it is listed as running") if state["Running"] else True

    wait_for(
        ended, state=f"the end of container {container[:12]}", within=_NOTICED_WITHIN, every=0.05
    )
