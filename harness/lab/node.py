"""Nodes: what all have in common, and those of this kernel, which are entered by their pid."""

from __future__ import annotations

import json
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from docker import DockerClient
from docker.errors import DockerException

from harness.engine import EngineFacts
from harness.errors import LabError
from harness.lab.cgroups import NodeGroups
from harness.lab.client import docker_client
from harness.lab.disks import Disks
from harness.lab.dockerd import (
    METRICS_PORT,
    NAMESPACES,
    BaseDockerd,
    LocalDockerd,
    environment,
)
from harness.lab.dockerd_ends import DockerdEnds
from harness.lab.network import NetworkDoor, node_address
from harness.lab.nsenter import Completed, complete, entering
from harness.lab.processes import Held, Process
from harness.lab.topology import Place

if TYPE_CHECKING:
    from testinfra.host import Host

    from harness.lab.keeper import Keeper

#: Seconds for the kernel to end all of a node's processes after its init was killed.
_GONE_WITHIN = 20.0


class BaseNode(ABC):
    """What nodes have in common, on whichever machine they are.

    ``dir`` is a node's folder on this machine, with its API's socket and its dockerd's log.
    ``planned_role`` is what the topology wants it to be; what it is in the swarm, ask the swarm.
    What kind of machine it is, and how that is switched on, a lab's own class says.
    """

    def __init__(self, place: Place, engine: EngineFacts, folder: Path) -> None:
        self.place = place
        self.name = place.name
        self.planned_role = place.role
        self.address = node_address(place.index)
        self.engine = engine
        self.dir = folder
        self.dockerd_ends = DockerdEnds()
        self._init: Held | None = None
        self._dockerd: BaseDockerd | None = None
        self._client: DockerClient | None = None

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.address} engine {self.engine.version}>"

    @property
    def log(self) -> Path:
        """The log of its dockerd, over all its lives."""
        return self.dir / "dockerd.log"

    # -- its machine ---------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the machine is switched on; its dockerd may be running or not."""
        return self._init is not None and self._init.alive

    @property
    def pid(self) -> int:
        """Pid of the node's init on its machine; :class:`LabError` when it is off."""
        if self._init is None or not self._init.alive:
            raise LabError(f"{self.name} is switched off")
        return self._init.pid

    @abstractmethod
    def boot(self) -> None:
        """Switch the machine on, with the files it had; this does not start its dockerd."""

    def install(self, engine: EngineFacts) -> None:
        """Make the node boot with this engine from now on, over its files; it must be off."""
        if self.up:
            raise LabError(f"{self.name} is switched on: its engine cannot be changed")
        self.engine = engine

    def kill(self) -> None:
        """Cut the power: every process of the node gets SIGKILL at once. Its files stay."""
        if self._init is None or not self._init.alive:
            raise LabError(f"{self.name} is already switched off")
        if not self.dockerd.alive:
            self.dockerd_ends.found_dead()
        self.dockerd_ends.asked()
        self._init.signal(signal.SIGKILL)
        self._init.wait_gone(_GONE_WITHIN)
        self._let_go()

    # -- its dockerd ---------------------------------------------------------------------------

    @property
    def dockerd(self) -> BaseDockerd:
        """The node's dockerd, running or not; :class:`LabError` when the node is off."""
        if self._dockerd is None or not self.up:
            raise LabError(f"{self.name} is switched off")
        return self._dockerd

    def start(self, extra: Sequence[str] = ()) -> None:
        """Switch the machine on if it is off, start its dockerd, and wait until it answers."""
        try:
            if not self.up:
                self.boot()
            self.dockerd.start(extra)
            self.dockerd.wait_ready()
        except OSError as error:
            raise LabError(f"{self.name} cannot start: {error}") from error

    @property
    def docker(self) -> DockerClient:
        """A Docker SDK client on the node's own API socket (timeout 15 s a request)."""
        if self._client is None:
            self._client = self.client(timeout=15)
        return self._client

    def client(self, timeout: int) -> DockerClient:
        """Return a new client with this timeout in seconds; the caller closes it."""
        try:
            return docker_client(self.dir / "api" / "docker.sock", timeout)
        except (DockerException, HTTPException, OSError, LookupError, ValueError) as error:
            raise LabError(f"dockerd on {self.name} does not answer: {error}") from error

    @abstractmethod
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

    @cached_property
    def host(self) -> Host:
        """A testinfra Host: ``node.host.process.filter(comm="dockerd")``."""
        from harness.lab.testinfra_host import host_of

        return host_of(self.name, lambda argv: self.run(argv, check=False))

    def close(self) -> None:
        """Close sockets, threads and descriptors; the node itself goes on."""
        self._let_go()

    # -- whom it can find ----------------------------------------------------------------------

    def set_host(self, name: str, address: str | None) -> None:
        """Name a host outside the swarm on this node; an ``address`` of None removes the name.

        It is written to ``/etc/hosts`` and survives a restart of the node.
        """
        hosts = {**self._known()["hosts"], name: address}
        self._learn(hosts={key: value for key, value in hosts.items() if value})

    def use_name_server(self, address: str | None) -> None:
        """Set the name server of the node and of containers created from now on.

        None: no server, as at first; names outside the swarm then fail at once. It survives a
        restart of the node, like :meth:`set_host`.
        """
        self._learn(name_server=address)

    # -- within --------------------------------------------------------------------------------

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of everything that runs on it."""
        return environment(self.engine)

    def _let_go(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._dockerd is not None:
            self._dockerd.forget()
            self._dockerd = None
        if self._init is not None:
            self._init.close()
            self._init = None

    @property
    def _machine_id(self) -> str:
        return f"{self.place.index + 1:032x}\n"

    def _known(self) -> dict[str, Any]:
        known: dict[str, Any] = {"hosts": {}, "name_server": None}
        path = self.dir / "names.json"
        return {**known, **json.loads(path.read_text())} if path.exists() else known

    def _learn(self, **news: Any) -> None:
        (self.dir / "names.json").write_text(json.dumps({**self._known(), **news}))
        if self.up:
            for name, text in self._name_files().items():
                self.run(["sh", "-c", 'cat >"$1"', "sh", f"/etc/{name}"], stdin=text.encode())

    def _name_files(self) -> dict[str, str]:
        known = self._known()
        own = {"localhost": "127.0.0.1", self.name: self.address}
        server = known["name_server"]
        return {
            "hosts": "".join(f"{at} {name}\n" for name, at in {**own, **known["hosts"]}.items()),
            # No name server: what is not in the swarm cannot be resolved, and says so at once.
            "resolv.conf": f"nameserver {server}\n" if server else "",
        }


class LocalNode(BaseNode):
    """A node that shares this kernel, so that it can be entered by the pid of its init."""

    def __init__(self, place: Place, engine: EngineFacts, keeper: Keeper) -> None:
        super().__init__(place, engine, keeper.lab_dir / "nodes" / place.name)
        self.disks = Disks(self)
        self._keeper = keeper
        self._groups = NodeGroups.under(keeper.janitor, keeper.lab_dir, keeper.lab_id, self.name)
        self._door: NetworkDoor | None = None

    @property
    def here(self) -> Self:
        """Itself: it shares this kernel."""
        return self

    @property
    def groups(self) -> NodeGroups:
        """Its cgroups, in every hierarchy."""
        return self._groups

    def attach(self, init: int) -> None:
        """Attach to a machine that is already running (in a thawed lab)."""
        self._adopt(init)

    def metrics(self, timeout: float = 5.0) -> str:
        """Return dockerd's metrics in Prometheus' text format, read inside the lab."""
        url = f"http://{self.address}:{METRICS_PORT}/metrics"
        return self.network.call(lambda: _get(url, timeout))

    # -- being inside --------------------------------------------------------------------------

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
        done = complete(
            entering(self.pid, NAMESPACES, argv),
            shown=argv,
            where=self.name,
            stdin=stdin,
            env=self.environment,
            timeout=timeout,
        )
        return done.check(self.name) if check else done

    def network_tool(self, argv: Sequence[str]) -> Completed:
        """Run a program that looks at, or changes, the network of this node; LabError if it fails.

        It need not be a program of the node's.
        """
        return self.run(argv)

    def popen(self, argv: Sequence[str], **popen: object) -> subprocess.Popen[bytes]:
        """Start a program on the node; it dies with the node."""
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            entering(self.pid, NAMESPACES, argv), env=self.environment, **popen
        )

    @property
    def network(self) -> NetworkDoor:
        """A door into the node's network namespace for this process's own sockets."""
        if self._door is None:
            self._door = NetworkDoor(self.pid, self.name)
        return self._door

    @abstractmethod
    def facts(self) -> Mapping[str, object]:
        """Return what another process needs to attach to this node."""

    def _adopt(self, init: int) -> None:
        self._init = Process(init, f"init of {self.name}")
        self._dockerd = LocalDockerd(
            node=self.name,
            init=init,
            engine=self.engine,
            address=self.address,
            folder=self.dir,
            groups=self._groups,
            ends=self.dockerd_ends,
            environment=self.environment,
        )

    def _let_go(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None
        super()._let_go()


def _get(url: str, timeout: float) -> str:
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        text: str = answer.read().decode()
        return text
