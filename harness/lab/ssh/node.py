"""A node on another machine: what it does goes there by commands, its API comes by a socket."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from harness.engine import Engine, EngineFacts
from harness.errors import LabError
from harness.lab.dockerd import (
    ALLOW_ALL,
    METRICS_PORT,
    NAMESPACES,
    BaseDockerd,
    of_old,
)
from harness.lab.dockerd_ends import DockerdEnds
from harness.lab.network import PREFIX, mac_of
from harness.lab.node import BaseNode
from harness.lab.nsenter import Completed, entering, joining
from harness.lab.ssh.connection import Connection
from harness.lab.ssh.machine import MachineLab
from harness.lab.topology import Place

#: Prints "PID START" of a process that lives: the time it began at tells it from a later one.
_IDENTITY = """
identity() {
    pid=$1
    read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
    set -- ${stat##*) }
    [ "$1" != Z ] && echo "$pid ${20}"
}
"""
_FIND = (
    _IDENTITY
    + """
parent=$1
shift
for child in $(cat "/proc/$parent"/task/*/children 2>/dev/null | tr ' ' '\n' | sort -n); do
    name=$(cat "/proc/$child/comm" 2>/dev/null) || continue
    for wanted; do
        [ "$name" != "$wanted" ] || { identity "$child" && exit; }
    done
done
"""
)
_ALIVE = _IDENTITY + '[ "$(identity "$1")" = "$1 $2" ] && echo alive || true'
_SIGNAL = _IDENTITY + '[ "$(identity "$1")" != "$1 $2" ] || kill "-$3" "$1"'
_GONE = (
    _IDENTITY
    + """
for _ in $(seq "$3"); do
    [ "$(identity "$1")" = "$1 $2" ] || { echo gone && exit; }
    sleep 0.05
done
"""
)

_FETCH = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.buffer.write(opener.open(sys.argv[1], timeout=float(sys.argv[2])).read())
"""


class RemoteProcess:
    """One process on a machine; a pid that is reused is never taken for it."""

    def __init__(self, connection: Connection, pid: int, began: str, name: str) -> None:
        self.pid = pid
        self.name = name
        self._began = began
        self._connection = connection

    @classmethod
    def at(cls, connection: Connection, pid: int, name: str) -> RemoteProcess:
        """Return the process with this pid; :class:`LabError` if there is none."""
        said = connection.run(
            ["sh", "-c", _IDENTITY + 'identity "$1"', "sh", str(pid)], check=False
        )
        if said.code != 0:
            raise LabError(f"{name} (pid {pid}) is gone")
        return cls(connection, pid, said.text.partition(" ")[2], name)

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet (a zombie has)."""
        return self._ask(_ALIVE) == "alive"

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        self._ask(_SIGNAL, str(number))

    def wait_gone(self, within: float) -> None:
        """Wait until it has ended; :class:`LabError` if it has not ``within`` seconds."""
        if self._ask(_GONE, str(round(within / 0.05)), patience=2 * within) != "gone":
            raise LabError(f"{self.name} (pid {self.pid}) has not ended within {within:g} s")

    def close(self) -> None:
        """Do nothing: nothing of it is held here."""

    def _ask(self, script: str, *argv: str, patience: float = 0.0) -> str:
        return self._connection.run(
            ["sh", "-c", script, "sh", str(self.pid), self._began, *argv], timeout=60.0 + patience
        ).text


class RemoteDockerd(BaseDockerd):
    """The dockerd of a node on another machine."""

    def __init__(
        self,
        *,
        node: str,
        engine: EngineFacts,
        address: str,
        folder: Path,
        ends: DockerdEnds,
        environment: Mapping[str, str],
        machine: MachineLab,
        init: int,
        groups: Sequence[Path],
    ) -> None:
        super().__init__(
            node=node,
            engine=engine,
            address=address,
            folder=folder,
            ends=ends,
            environment=environment,
        )
        self._machine = machine
        self._init = init
        self._groups = groups

    def command(self, extra: Sequence[str] = ()) -> list[str]:
        """dockerd's command line; its socket is for the user too whom the machine lets in."""
        flags = super().command(extra)
        return [
            f"--group={self._machine.connection.group}" if f == "--group=root" else f for f in flags
        ]

    def _launch(self, argv: Sequence[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._log_began = self.log.stat().st_size
        entered = entering(self._init, NAMESPACES, with_environment(self._environment, argv))
        self._machine.connection.run(
            [
                *("sh", "-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1 </dev/null', "sh"),
                *(str(log_of(self._machine, self.node)), *joining(self._groups, entered)),
            ]
        )

    def child(self, *names: str) -> RemoteProcess | None:
        """Return its oldest child with one of these names, as the kernel has them; or None."""
        return self._child_of(self.pid, *names)

    def _seek(self) -> RemoteProcess | None:
        return self._child_of(self._init, "dockerd")

    def _child_of(self, parent: int, *names: str) -> RemoteProcess | None:
        connection = self._machine.connection
        done = connection.run(["sh", "-c", _FIND, "sh", str(parent), *names], check=False)
        if not (said := done.text):
            return None
        pid, began = said.split()
        return RemoteProcess(connection, int(pid), began, f"{names[0]} on {self.node}")


class SshNode(BaseNode):
    """A node on a machine of an inventory, its root an overlay over the engine's copy there."""

    engine: Engine

    def __init__(self, place: Place, engine: Engine, folder: Path, machine: MachineLab) -> None:
        super().__init__(place, engine, folder)
        self.machine = machine
        self._log_copy: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.address} on {self.machine.machine.name}>"

    @property
    def here(self) -> NoReturn:
        """:class:`LabError`: no process of this machine can enter another one."""
        raise LabError(
            f"{self.name} is on another machine ({self.machine.machine.name}): "
            "its processes, files and sockets cannot be entered from here",
            hint="take --lab namespaces or --lab dind for this",
        )

    @property
    def pid(self) -> int:
        """Pid of the node's init on its machine; :class:`LabError` when it is off.

        It is not asked whether that still lives: what enters it finds out.
        """
        if self._init is None:
            raise LabError(f"{self.name} is switched off")
        return self._init.pid

    def plug_in(self) -> None:
        """Have its API's socket and its dockerd's log here; before it is first switched on."""
        (self.dir / "api").mkdir(mode=0o700, parents=True, exist_ok=True)
        there = self.machine.folder / "nodes" / self.name
        self.machine.connection.forward(
            self.dir / "api" / "docker.sock", f"{there}/api/docker.sock"
        )
        with self.log.open("wb") as log:
            self._log_copy = self.machine.connection.popen(
                # It ends with the lab there, whatever becomes of this side.
                [
                    *("tail", "-F", "-c", "+1", "-s", "0.2", f"--pid={self.machine.janitor}"),
                    str(log_of(self.machine, self.name)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def boot(self) -> None:
        """Switch the machine on, with the files it had; this does not start its dockerd."""
        if self.up:
            raise LabError(f"{self.name} is already switched on")
        init, groups = self.machine.boot(
            self.name,
            self.machine.machine.root_of(self.engine),
            f"{self.address}/{PREFIX}",
            mac_of(self.address),
            self.engine.cgroups,
            self._etc(),
        )
        self._init = RemoteProcess.at(self.machine.connection, init, f"init of {self.name}")
        self._dockerd = RemoteDockerd(
            node=self.name,
            engine=self.engine,
            address=self.address,
            folder=self.dir,
            ends=self.dockerd_ends,
            environment=self.environment,
            machine=self.machine,
            init=init,
            groups=groups,
        )

    def install(self, engine: EngineFacts) -> None:
        """Make the node boot with this engine from now on, over its files; it must be off."""
        if not isinstance(engine, Engine):
            raise LabError(f"engine {engine.version} has no root file system on this machine")
        super().install(engine)

    def seed(self, seed: Path) -> None:
        """Fill its ``/var/lib/docker`` from a seed (:mod:`harness.lab.image_seed`)."""
        there = self.machine.machine.seed_at(seed)
        data = self.machine.folder / "nodes" / self.name / "data"
        copy = 'mkdir -p "$2" && cp -a "$1/state/." "$2/" && cp -al "$1/layers/." "$2/"'
        self.machine.connection.run(["sh", "-c", copy, "sh", str(there), str(data)], timeout=300)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a program on the node to its end (seconds of real patience: ``timeout``).

        Raises :class:`LabError` when it does not end in time or, with ``check``, not with 0.
        """
        done = self.machine.connection.run(
            self._entering(argv), stdin=stdin, timeout=timeout, check=False
        )
        done = Completed(tuple(argv), done.code, done.stdout, done.stderr)
        return done.check(self.name) if check else done

    def popen(self, argv: Sequence[str], **popen: object) -> subprocess.Popen[bytes]:
        """Start a program on the node; it dies with the node."""
        return self.machine.connection.popen(self._entering(argv), **popen)

    def network_tool(self, argv: Sequence[str]) -> Completed:
        """Run a program of the machine in the node's network; LabError if it fails."""
        done = self.machine.connection.run(entering(self.pid, ("net",), argv), check=False)
        return Completed(tuple(argv), done.code, done.stdout, done.stderr).check(self.name)

    def metrics(self, timeout: float = 5.0) -> str:
        """Return dockerd's metrics in Prometheus' text format, read on the machine."""
        url = f"http://{self.address}:{METRICS_PORT}/metrics"
        return self.network_tool(["python3", "-I", "-S", "-c", _FETCH, url, str(timeout)]).text

    def close(self) -> None:
        """Close sockets and clients; the node itself goes on."""
        super().close()
        if self._log_copy is not None:
            self._log_copy.kill()
            self._log_copy.wait()
            self._log_copy = None

    # -- within --------------------------------------------------------------------------------

    def _entering(self, argv: Sequence[str]) -> list[str]:
        return entering(self.pid, NAMESPACES, with_environment(self.environment, argv))

    def _etc(self) -> dict[str, str]:
        files = {"hostname": f"{self.name}\n", "machine-id": self._machine_id, **self._name_files()}
        if of_old(self.engine):
            files[Path(ALLOW_ALL).name] = json.dumps({"defaultAction": "SCMP_ACT_ALLOW"})
        return files


def log_of(machine: MachineLab, node: str) -> Path:
    """Return where a node's dockerd writes its log on its machine."""
    return machine.folder / "nodes" / node / "dockerd.log"


def with_environment(variables: Mapping[str, str], argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` with these variables and no others."""
    return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items()), *argv]
