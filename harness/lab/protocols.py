"""What the rooms above ask of a lab, its nodes and its client hosts, whichever lab it is.

A node that shares this kernel (:class:`~harness.lab.node.LocalNode`) can be entered by the pid of
its init; one that does not is reached by commands, files and its API. What needs the former asks
for ``node.here``, and says so by it: where there is none, it is a :class:`LabError` in words.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from harness.lab.dockerd import READY_WITHIN

if TYPE_CHECKING:
    from docker import DockerClient
    from testinfra.host import Host

    from harness.engine import EngineFacts
    from harness.lab.client_host import LocalClientHost
    from harness.lab.dockerd_ends import DockerdEnds
    from harness.lab.local_lab import LocalLab
    from harness.lab.node import LocalNode
    from harness.lab.nsenter import Completed
    from harness.lab.processes import Held
    from harness.lab.topology import PlannedRole, Topology

T = TypeVar("T")


class Dockerd(Protocol):
    """The engine's daemon on a node."""

    @property
    def socket(self) -> Path:
        """Its API's socket, as a file of this machine."""
        ...

    @property
    def pid(self) -> int:
        """Its pid, as counted where its node's processes are seen; LabError without one."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may not answer yet, or no longer)."""
        ...

    def child(self, *names: str) -> Held | None:
        """Return its oldest child with one of these names, as the kernel has them; or None."""
        ...

    def start(self, extra: Sequence[str] = ()) -> None:
        """Start it with these flags besides its own."""
        ...

    def wait_ready(self, within: float = READY_WITHIN) -> None:
        """Wait until the API answers; ``within`` in seconds."""
        ...

    def ping(self, timeout: float = 2.0) -> bool:
        """Return whether the API answers ``/_ping`` with OK."""
        ...

    def signal(self, number: int) -> None:
        """Send it a signal."""
        ...

    def end(self, number: int, within: float) -> None:
        """End it by a signal, and wait until it is gone."""
        ...

    def kill(self, within: float = 10.0) -> None:
        """SIGKILL, and wait until it is gone."""
        ...

    def stop(self, within: float = 30.0) -> None:
        """SIGTERM, and wait until it is gone; containers are stopped by it."""
        ...


class Door(Protocol):
    """A way for this process to have sockets in another network namespace."""

    def call(self, work: Callable[[], T]) -> T:
        """Run ``work`` there and return what it returns; what it raises goes through."""
        ...


class Node(Protocol):
    """One member machine of a lab."""

    @property
    def name(self) -> str:
        """Its name, which is its host name too."""
        ...

    @property
    def address(self) -> str:
        """Its address on the fabric."""
        ...

    @property
    def planned_role(self) -> PlannedRole:
        """What the topology wants it to be; what it is in the swarm, ask the swarm."""
        ...

    @property
    def engine(self) -> EngineFacts:
        """The engine that it boots with."""
        ...

    @property
    def up(self) -> bool:
        """Whether the machine is switched on; its dockerd may be running or not."""
        ...

    @property
    def here(self) -> LocalNode:
        """Itself, as a node that shares this kernel; LabError if it does not."""
        ...

    @property
    def log(self) -> Path:
        """The log of its dockerd over all its lives, as a file of this machine."""
        ...

    @property
    def dockerd(self) -> Dockerd:
        """Its dockerd, running or not; LabError when the machine is off."""
        ...

    @property
    def dockerd_ends(self) -> DockerdEnds:
        """Which ends of its dockerd were asked for."""
        ...

    @property
    def docker(self) -> DockerClient:
        """A Docker SDK client of its API (timeout 15 s a request)."""
        ...

    @property
    def host(self) -> Host:
        """A testinfra Host."""
        ...

    def boot(self) -> None:
        """Switch the machine on, with the files it had; this does not start its dockerd."""
        ...

    def start(self, extra: Sequence[str] = ()) -> None:
        """Switch it on if it is off, start its dockerd, and wait until it answers."""
        ...

    def kill(self) -> None:
        """Cut the power. Its files stay."""
        ...

    def install(self, engine: EngineFacts) -> None:
        """Make it boot with this engine from now on, over its files; it must be off."""
        ...

    def client(self, timeout: int) -> DockerClient:
        """Return a new client with this timeout in seconds; the caller closes it."""
        ...

    def metrics(self, timeout: float = 5.0) -> str:
        """Return dockerd's metrics in Prometheus' text format."""
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a program on it to its end; LabError when it does not end, or not with 0."""
        ...

    def network_tool(self, argv: Sequence[str]) -> Completed:
        """Run a program in its network, which need not be one of its own; LabError if it fails."""
        ...

    def popen(self, argv: Sequence[str], **popen: object) -> subprocess.Popen[bytes]:
        """Start a program on it; it dies with the node."""
        ...

    def set_host(self, name: str, address: str | None) -> None:
        """Name a host outside the swarm on this node; an ``address`` of None removes the name."""
        ...

    def use_name_server(self, address: str | None) -> None:
        """Set the name server of the node and of containers created from now on."""
        ...


class ClientHost(Protocol):
    """An address on the fabric that is not a node; its processes are this machine's."""

    @property
    def up(self) -> bool:
        """Whether it is there: always."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def address(self) -> str:
        """Its address on the fabric."""
        ...

    @property
    def here(self) -> LocalClientHost:
        """Itself: it is on this machine in every lab."""
        ...

    @property
    def pid(self) -> int:
        """The process that holds its network namespace."""
        ...

    @property
    def network(self) -> Door:
        """A door into its network namespace for this process's own sockets."""
        ...

    def popen(self, argv: Sequence[str], **popen: object) -> subprocess.Popen[bytes]:
        """Start a program in its network; it dies with the lab."""
        ...

    def run_module(
        self, module: str, *, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Run a Python module in its network, its output appended to ``log``."""
        ...


class FabricPart(Protocol):
    """One bridge of the fabric, in a network namespace that belongs to the lab."""

    @property
    def passing(self) -> Sequence[str]:
        """Matches of nft for frames that another part decides on, so that each is met once."""
        ...

    def run_on_fabric(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout: float = 60.0
    ) -> Completed:
        """Run a program in the bridge's network namespace, whatever it ends with."""
        ...


class Lab(Protocol):
    """Nodes, client hosts, and the fabric between them."""

    @property
    def name(self) -> str:
        """As ``--lab`` and ``lab.json`` have it."""
        ...

    @property
    def topology(self) -> Topology:
        """Its managers, workers and spares."""
        ...

    @property
    def folder(self) -> Path:
        """Where its files are on this machine, until it ends."""
        ...

    @property
    def own_kernel(self) -> bool:
        """Whether no one but the lab lives on this kernel."""
        ...

    @property
    def fabric(self) -> Sequence[FabricPart]:
        """The bridges between its nodes: one, or one on each machine."""
        ...

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Its nodes by name."""
        ...

    @property
    def client_hosts(self) -> Mapping[str, ClientHost]:
        """The client hosts that were asked for so far, by name."""
        ...

    @property
    def here(self) -> LocalLab[Any]:
        """Itself, as a lab whose nodes share this kernel; LabError if they do not."""
        ...

    def node(self, name: str) -> Node:
        """Return a node by its name; LabError naming those there are."""
        ...

    def client_host(self, name: str = "client") -> ClientHost:
        """Return the client host of this name, brought up when first asked for."""
        ...

    def describe(self) -> Path:
        """Write ``lab.json``, with which another process can attach; its path."""
        ...

    def collect_logs(self, into: Path) -> None:
        """Copy every dockerd's log to ``into/<node>.log``."""
        ...

    def release(self) -> None:
        """Let go of sockets, threads and descriptors; the lab goes on (it was attached)."""
        ...

    def close(self, *, keep_files: bool = False) -> None:
        """End every process of the lab and remove its files; safe to call twice."""
        ...
