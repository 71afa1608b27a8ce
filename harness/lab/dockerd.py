"""The engine's daemon on a node: start, readiness, signals, log."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.engine import EngineFacts
from harness.engine.versions import release_key
from harness.errors import LabError
from harness.lab.client import UnixConnection
from harness.lab.dockerd_ends import DockerdEnds
from harness.lab.nsenter import entering, joining
from harness.lab.processes import Held, Process, children, comm
from harness.wait import Deadline, NotYet, wait_for

if TYPE_CHECKING:
    from harness.lab.cgroups import NodeGroups

NAMESPACES = ("mount", "uts", "ipc", "net", "pid", "cgroup")
SOCKET = "/run/swarm-chaos/docker.sock"
METRICS_PORT = 9323

ALLOW_ALL = "/etc/swarm-chaos-seccomp.json"
"""Where a node with an engine :func:`of_old` has a seccomp profile that forbids nothing."""

#: How the Go runtime begins to say that a program ends by an error of its own.
_PANIC = (b"panic: ", b"fatal error: ")

#: The same, or that it ends by a signal.
_DYING = re.compile(r"^(?:panic: |fatal error: |SIG[A-Z]+: ).*", re.MULTILINE)

#: Signals that end dockerd: it cleans up on the first two, the Go runtime dies of the others.
DEADLY = ("TERM", "INT", "QUIT", "ABRT", "SEGV", "KILL")

_ENDING = {int(signal.Signals[f"SIG{name}"]) for name in DEADLY}

DEFAULTS = "/etc/default/docker"
"""Where a node has variables for its dockerd, as Debian's unit reads them (EnvironmentFile)."""

_START = f'set -a; [ ! -r {DEFAULTS} ] || . {DEFAULTS}; set +a; "$@" </dev/null & '

#: moby's own tests give a daemon 60 s to answer (internal/testutil/daemon).
READY_WITHIN = 60.0


def environment(engine: EngineFacts) -> dict[str, str]:
    """Return the environment of everything that runs on a node."""
    return {
        "PATH": engine.path,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        # Images are loaded, no registry is there: a task must not first wait for a failed pull.
        # Where there is one: harness.load.pulling.
        "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1",
    }


def of_old(engine: EngineFacts) -> bool:
    """Return whether an engine is older than 20.10 and needs more options.

    To have metrics, that it may be experimental. And to let programs of today start a thread: they
    ask for ``clone3`` and want to hear that there is none (ENOSYS); the seccomp profiles of old say
    that it is not allowed (moby/moby#42681; from runc 1.0.0-rc93 on runc knows better).
    """
    return release_key(engine.version) < release_key("20.10.0")


def panics_in(log: Path, since: int = 0) -> list[str]:
    """Return the lines of a log, from the byte ``since`` on, that begin as a panic's do.

    Every log is read so at the end of every trial, in a guest that is emulated: by a search for
    bytes, which is four times as fast as a regular expression.
    """
    text = b"\n" + _bytes(log, since)
    if not any(b"\n" + head in text for head in _PANIC):
        return []
    lines = text.split(b"\n")
    return [line.decode(errors="replace") for line in lines if line.startswith(_PANIC)]


def last_words(log: Path, since: int = 0, *, lines: int) -> str:
    """Return the first line of a log, from ``since`` on, that says of what dockerd died.

    Every goroutine's stack comes after it. Without one: the log's last ``lines``.
    """
    text = _bytes(log, since).decode(errors="replace")
    said = _DYING.search(text)
    return said[0] if said else "\n  ".join(text.splitlines()[-lines:]) or "its log is empty"


def _bytes(log: Path, since: int) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(since)
            return file.read()
    except OSError:
        return b""  # a dockerd that was never started has no log


class BaseDockerd(ABC):
    """One node's dockerd. It is a child of the node's init, not of this process.

    How that is found and started, the node's kind says.
    """

    def __init__(
        self,
        *,
        node: str,
        engine: EngineFacts,
        address: str,
        folder: Path,
        ends: DockerdEnds,
        environment: Mapping[str, str],
    ) -> None:
        self.node = node
        self.engine = engine
        self.socket = folder / "api" / "docker.sock"
        self.log = folder / "dockerd.log"
        self._address = address
        self._ends = ends
        self._environment = environment
        self._log_began = 0
        self._process: Held | None = None

    @property
    def pid(self) -> int:
        """Its pid as the host counts; :class:`LabError` if it is not running."""
        if (process := self._find()) is None:
            raise LabError(f"dockerd is not running on {self.node}")
        return process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may not answer yet, or no longer)."""
        return self._find() is not None

    def command(self, extra: Sequence[str] = ()) -> list[str]:
        """dockerd's command line on this node."""
        flags = [
            f"--host=unix://{SOCKET}",
            "--group=root",
            f"--metrics-addr={self._address}:{METRICS_PORT}",
            "--swarm-default-advertise-addr=eth0",
        ]
        if of_old(self.engine):
            flags += ["--experimental", f"--seccomp-profile={ALLOW_ALL}"]
        return ["dockerd", *flags, *extra]

    def start(self, extra: Sequence[str] = ()) -> None:
        """Start it; :meth:`wait_ready` waits until it answers. ``extra``: more flags for it."""
        if self.alive:
            raise LabError(f"dockerd is already running on {self.node}")
        self._ends.found_dead()
        self._launch(["/bin/sh", "-c", _START, "sh", *self.command(extra)])
        self._ends.started()

    def wait_ready(self, within: float = READY_WITHIN) -> None:
        """Wait until the API answers; :class:`LabError` if dockerd ends, with what it ended of."""
        started = Deadline(2.0)

        def answers() -> bool | NotYet:
            if not self.alive and started.expired:
                raise LabError(f"dockerd on {self.node} ended while starting: {self._said()}")
            return self.ping() or NotYet("no answer to _ping")

        wait_for(answers, state=f"dockerd's API on {self.node}", within=within, every=0.05)
        self.socket.chmod(0o600)

    def ping(self, timeout: float = 2.0) -> bool:
        """Return whether the API answers ``/_ping`` with OK."""
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request("GET", "/_ping")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def signal(self, number: int) -> None:
        """Send it a signal; :class:`LabError` if it does not run."""
        process = self._required()
        if number in _ENDING:
            self._ends.asked()
        process.signal(number)

    def end(self, number: int, within: float) -> None:
        """End it by a signal, and wait until it is gone; :class:`LabError` if it does not run."""
        process = self._required()
        self._ends.asked()
        process.signal(number)
        process.wait_gone(within)
        self.forget()

    def kill(self, within: float = 10.0) -> None:
        """SIGKILL, and wait until it is gone. Its containers go on under their shims."""
        self.end(signal.SIGKILL, within)

    def stop(self, within: float = 30.0) -> None:
        """SIGTERM, and wait until it is gone; containers are stopped by it."""
        if self.alive:
            self.end(signal.SIGTERM, within)
        else:
            self._ends.found_dead()

    def forget(self) -> None:
        """Close the pidfd; dockerd itself goes on."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _said(self) -> str:
        return last_words(self.log, self._log_began, lines=5)

    def _required(self) -> Held:
        if (process := self._find()) is None:
            self._ends.found_dead()
            raise LabError(f"dockerd is not running on {self.node}")
        return process

    def _find(self) -> Held | None:
        if self._process is not None:
            if self._process.alive:
                return self._process
            self.forget()
        self._process = self._seek()
        return self._process

    @abstractmethod
    def child(self, *names: str) -> Held | None:
        """Return its oldest child with one of these names, as the kernel has them; or None.

        :class:`LabError` if it does not run.
        """

    @abstractmethod
    def _launch(self, argv: Sequence[str]) -> None:
        """Run a program on the node that starts it; :class:`LabError` when that fails."""

    @abstractmethod
    def _seek(self) -> Held | None:
        """Look for it among the children of the node's init."""


class LocalDockerd(BaseDockerd):
    """The dockerd of a node that shares this kernel."""

    def __init__(
        self,
        *,
        node: str,
        init: int,
        engine: EngineFacts,
        address: str,
        folder: Path,
        groups: NodeGroups,
        ends: DockerdEnds,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(
            node=node,
            engine=engine,
            address=address,
            folder=folder,
            ends=ends,
            environment=environment,
        )
        self._init = init
        self._groups = groups

    def _launch(self, argv: Sequence[str]) -> None:
        entered = joining(self._groups.leaves(), entering(self._init, NAMESPACES, argv))
        with self.log.open("ab") as log:
            self._log_began = log.tell()
            done = subprocess.run(
                entered,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                check=False,
            )
        if done.returncode != 0:
            raise LabError(f"cannot enter {self.node} to start dockerd: {self._said()}")

    def child(self, *names: str) -> Held | None:
        """Return its oldest child with one of these names, as the kernel has them; or None."""
        return self._among(children(self.pid, of_threads=True), *names)

    def _seek(self) -> Held | None:
        return self._among(children(self._init), "dockerd")

    def _among(self, pids: Sequence[int], *names: str) -> Held | None:
        for pid in pids:
            if (name := comm(pid)) not in names:
                continue
            with contextlib.suppress(LabError):  # it ended just now
                found = Process(pid, f"{name} on {self.node}")
                if found.alive:
                    return found
                found.close()
        return None
