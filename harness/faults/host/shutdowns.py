"""A host that is shut down in order, rebooted, or whose dockerd crashes and is restarted."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from harness.errors import FaultError, LabError
from harness.faults.host.supervisor import RESTART_AFTER, STARTS, WITHIN, StartLimit
from harness.faults.node_fault import DOCKERD, NodeFault
from harness.faults.parameter import COUNT, DURATION, parameter, state

#: What dockerd writes when it is told to end, and what the Go runtime writes when it aborts.
_TOLD = b"Processing signal 'terminated'"
_ABORTED = b"SIGABRT: abort"

#: Seconds for a process to be gone after a signal that it cannot survive.
_GONE_WITHIN = 10.0


class DockerdCrashed(NodeFault):
    """dockerd aborts with its stack in the log, and the host's unit starts it again after 2 s.

    ``times`` in a row: the unit gives up at the fourth within a minute.
    """

    name = "dockerd-crashed"
    summary = "dockerd aborts (SIGABRT), and the host starts it again 2 s later, as its unit says."
    proof = "the log has an abort for each time, another pid runs or the unit has given up"
    excludes = (DOCKERD,)

    times: int = parameter(COUNT, "how often in a row; 4 or more and it stays down", default="1")
    gave_up: bool = state(default=False)
    _before: int = state(0)
    _log_began: int = state(0)

    def precheck(self) -> None:
        """Require a running dockerd."""
        self.require_dockerd()
        self._before = self.node.dockerd.pid
        self._log_began = self.node.log.stat().st_size

    def apply(self) -> None:
        """Abort it, and start it again as the unit would, as often as asked for."""
        limit = StartLimit()
        for _ in range(self.times):
            self.node.dockerd.end(signal.SIGABRT, _GONE_WITHIN)
            if not limit.may_start(time.monotonic()):
                self.gave_up = True
                return
            time.sleep(RESTART_AFTER)
            self.node.start()

    def evidence(self) -> str:
        """Check that it aborted, and that it runs again or was given up."""
        aborts = _log_since(self.node.log, self._log_began).count(_ABORTED)
        wanted = min(self.times, STARTS + 1)
        if aborts < wanted:
            raise FaultError(f"the log of {self.node.name} has {aborts} aborts of {wanted}")
        if self.gave_up:
            if self.node.dockerd.alive:
                raise FaultError(f"dockerd on {self.node.name} runs, though its unit gave up")
            return f"{aborts} aborts in the log; the unit gave up: {STARTS} starts in {WITHIN:g} s"
        if (pid := self.node.dockerd.pid) == self._before:
            raise FaultError(f"dockerd on {self.node.name} is still the process {pid}")
        return f"{aborts} aborts in the log, pid {pid} runs in place of {self._before}"

    def undo(self) -> None:
        """Start it, if the unit has given up."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that it answers."""
        return self.answers()


class HostShutDown(NodeFault):
    """A host is shut down in order: TERM for dockerd, KILL after the unit's time-out, then off.

    Healed by switching it on. Containers are stopped by dockerd, within ``timeout``.
    """

    name = "host-shut-down"
    summary = "A host is shut down in order (TERM, the unit's time-out, KILL), and stays off."
    proof = "dockerd's log says that it was told to end, no process is left; healed: it answers"
    excludes = (DOCKERD,)
    recorded = ("killed",)

    timeout: float = parameter(
        DURATION.between("1s"), "until KILL; systemd's own is 90 s", default="90s"
    )
    killed: bool = state(default=False)
    stopped_after: float = state(0.0)
    _log_began: int = state(0)

    def precheck(self) -> None:
        """Require a running dockerd."""
        self.require_dockerd()
        self._log_began = self.node.log.stat().st_size

    def apply(self) -> None:
        """End dockerd as its unit does, then switch the machine off."""
        self.shut_down()

    def shut_down(self) -> None:
        """End dockerd by TERM, or after the time-out by KILL, and switch the node off."""
        began = time.monotonic()
        try:
            self.node.dockerd.end(signal.SIGTERM, self.timeout)
        except LabError:  # it has not ended in time
            self.killed = True
            self.node.dockerd.kill()
        self.stopped_after = round(time.monotonic() - began, 3)
        self.node.kill()

    def evidence(self) -> str:
        """Check that it was told to end, and that the node is off."""
        if self.node.up:
            raise FaultError(f"{self.node.name} is still on")
        return f"{self.was_told()}, no process is left"

    def was_told(self) -> str:
        """Return how dockerd ended; :class:`FaultError` if its log has no word of it."""
        self.measured["stopped_after"] = self.stopped_after
        if _TOLD not in _log_since(self.node.log, self._log_began):
            raise FaultError(f"the log of {self.node.name} does not say that dockerd was told")
        how = "was killed" if self.killed else "ended"
        return f"dockerd was told to end and {how} after {self.stopped_after:.1f} s"

    def undo(self) -> None:
        """Switch it on."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that it answers."""
        return self.answers()


class HostRebooted(HostShutDown):
    """A host is shut down in order, is off for a while, and comes back by itself."""

    name = "host-rebooted"
    summary = "A host is shut down in order, is off for a while, and comes back by itself."
    proof = "dockerd was told to end, another init runs, the API answers; healed: it answers"

    off: float = parameter(DURATION, "how long it is off", default="10s")
    _init: int = state(0)

    def apply(self) -> None:
        """Shut it down, wait, and switch it on."""
        self._init = self.node.here.pid
        self.shut_down()
        time.sleep(self.off)
        self.node.start()

    def evidence(self) -> str:
        """Check that another init runs, and that the API answers."""
        if self.node.here.pid == self._init:
            raise FaultError(f"{self.node.name} was not rebooted: init {self._init} goes on")
        return f"{self.was_told()}, then another init runs, {self.answers()}"


def _log_since(log: Path, began: int) -> bytes:
    with log.open("rb") as file:
        file.seek(began)
        return file.read()
