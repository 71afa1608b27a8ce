"""What labs of nodes on this kernel have in common: the janitor, the fabric, client hosts, the end.

::

    this process -- pipe --> janitor            owns the lab's cgroups and folder
                               `- keeper        process 1 of the lab's pid namespace;
                                    |           its network namespace is the fabric
                                    `- client   a client host: a network namespace on the fabric

When this process ends in any way the pipe ends; the janitor kills the keeper, the kernel kills
all that was in its pid namespace, and mounts, links, rules and qdiscs die with the namespaces
that held them. Nothing is ever made in the host's own network or mount namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from harness.errors import LabError, MissingError
from harness.files import untrusted, write_atomically
from harness.lab.cgroups import NodeGroups
from harness.lab.client_host import LocalClientHost
from harness.lab.keeper import Keeper, start_janitor
from harness.lab.network import client_host_address
from harness.lab.node import LocalNode
from harness.lab.topology import Place, Topology

N = TypeVar("N", bound=LocalNode)

_SCRIPTS = Path(__file__).with_name("scripts")

#: Unix sockets take 107 bytes of path (unix(7)); what a node adds to the lab's folder is less.
_LONGEST_FOLDER = 107 - len("/nodes/m100/api/docker.sock") - 1


def labs_folder() -> Path:
    """Return where labs live while they run: $SWARM_CHAOS_LABS, or root's in /var/tmp."""
    return Path(os.environ.get("SWARM_CHAOS_LABS", "/var/tmp/swarm-chaos"))


class LocalLab(ABC, Generic[N]):
    """A lab of nodes on this kernel; which machines they are, its own class says. Needs root."""

    name: ClassVar[str]
    """As ``--lab`` and ``lab.json`` have it."""

    def __init__(self, topology: Topology, keeper: Keeper, nodes: Mapping[str, N]) -> None:
        self.topology = topology
        self.keeper = keeper
        self.nodes = dict(nodes)
        self.client_hosts: dict[str, LocalClientHost] = {}
        self.own_kernel = False
        """Whether no one but the lab lives on this kernel: in a guest, which says so itself."""
        self._janitor: subprocess.Popen[bytes] | None = None

    @property
    def here(self) -> Self:
        """Itself: its nodes share this kernel."""
        return self

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.keeper.lab_dir

    @property
    def fabric(self) -> tuple[Keeper, ...]:
        """Its one bridge, which the keeper has."""
        return (self.keeper,)

    # -- coming up -----------------------------------------------------------------------------

    def _come_up(
        self, janitor: subprocess.Popen[bytes], seed_for: Callable[[N], Path | None]
    ) -> None:
        """Start what a lab consists of; on any error all of it is gone again."""
        self._janitor = janitor
        try:
            copy_scripts(self.keeper.scripts)
            self._cable()
            self._each(lambda node: _install_seed(node, seed_for(node)))
            self._each(lambda node: node.start())
            self.describe()
        except BaseException:
            self.close()
            raise

    @classmethod
    def _attached(cls, lab_dir: Path, node_of: Callable[[Place, Keeper, Any], N]) -> Self:
        """Take over a lab that another process has described; ``node_of`` makes each node."""
        facts = read_description(lab_dir)
        keeper = Keeper(facts["id"], lab_dir, facts["janitor"], facts["keeper"])
        topology = Topology(**facts["topology"])
        nodes = {}
        for place in topology.places():
            known = facts["nodes"][place.name]
            node = nodes[place.name] = node_of(place, keeper, known)
            if known["pid"] is not None:
                node.attach(known["pid"])
        lab = cls(topology, keeper, nodes)
        lab.own_kernel = facts["own_kernel"]
        groups = lab._client_host_groups()
        for name, host in facts["client_hosts"].items():
            lab.client_hosts[name] = LocalClientHost(name, host["address"], host["pid"], groups)
        return lab

    def describe(self) -> Path:
        """Write ``lab.json``, with which another process can attach; its path."""
        shape = {
            "managers": self.topology.managers,
            "workers": self.topology.workers,
            "spares": self.topology.spares,
            "engines": self.topology.engines,
        }
        facts = {
            "lab": self.name,
            "id": self.keeper.lab_id,
            "janitor": self.keeper.janitor,
            "keeper": self.keeper.keeper,
            "topology": shape,
            "own_kernel": self.own_kernel,
            "nodes": {name: node.facts() for name, node in self.nodes.items()},
            "client_hosts": {
                name: {"address": host.address, "pid": host.pid}
                for name, host in self.client_hosts.items()
            },
        }
        path = self.keeper.lab_dir / "lab.json"
        write_atomically(path, json.dumps(facts, indent=1))
        return path

    # -- what is in it -------------------------------------------------------------------------

    def node(self, name: str) -> N:
        """Return a node by its name; :class:`LabError` naming those there are."""
        try:
            return self.nodes[name]
        except KeyError:
            raise LabError(
                f"there is no node {name!r}; there are {', '.join(self.nodes)}"
            ) from None

    def client_host(self, name: str = "client") -> LocalClientHost:
        """Return the client host of this name, brought up when first asked for."""
        if name not in self.client_hosts:
            address = client_host_address(len(self.client_hosts))
            groups = self._client_host_groups()
            init = self.keeper.bring_up_client_host(name, address, groups)
            self.client_hosts[name] = LocalClientHost(name, address, init, groups)
            self.describe()
        return self.client_hosts[name]

    def collect_logs(self, into: Path) -> None:
        """Copy every dockerd's log to ``into/<node>.log``."""
        for node in self.nodes.values():
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(node.log, into / f"{node.name}.log")

    # -- going down ----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def release(self) -> None:
        """Let go of sockets, threads and descriptors; the lab goes on (it was attached)."""
        for host in self.client_hosts.values():
            host.close()
        for node in self.nodes.values():
            node.close()

    def close(self, *, keep_files: bool = False) -> None:
        """End every process of the lab and remove its files; safe to call twice."""
        self.release()
        janitor, self._janitor = self._janitor, None
        if janitor is not None:
            end_lab(janitor, self.keeper, keep_files=keep_files)

    # -- within --------------------------------------------------------------------------------

    def _cable(self) -> None:
        self.keeper.in_fabric(["ip", "link", "add", "fabric", "type", "bridge"])
        self.keeper.in_fabric(["ip", "link", "set", "fabric", "up"])

    def _each(self, work: Callable[[N], None]) -> None:
        """Do something on every node, as many at once as help; the first error is raised."""
        workers = min(len(self.nodes), 4 * (os.cpu_count() or 1))
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(work, node) for node in self.nodes.values()]:
                done.result()

    def _client_host_groups(self) -> list[Path]:
        groups = NodeGroups.under(
            self.keeper.janitor, self.keeper.lab_dir, self.keeper.lab_id, "client-hosts"
        )
        groups.make()
        return groups.leaves()


def read_description(lab_dir: Path) -> dict[str, Any]:
    """Return what a lab's ``lab.json`` says; :class:`LabError` if there is none."""
    try:
        facts: dict[str, Any] = json.loads((lab_dir / "lab.json").read_text())
    except (OSError, ValueError) as error:
        raise LabError(f"there is no lab in {lab_dir}: {error}") from error
    return facts


def require_root(lab: str, programs: Sequence[str]) -> None:
    """Raise :class:`MissingError` unless this is root and has the programs a lab needs."""
    if os.geteuid() != 0:
        raise MissingError(
            f"the {lab} lab needs root",
            hint="run as root, or use the microvm lab (--lab microvm), which does not",
        )
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise MissingError(
            f"the {lab} lab needs {', '.join(missing)}",
            hint="apt-get install util-linux mount iproute2",
        )


def new_lab() -> tuple[subprocess.Popen[bytes], Keeper]:
    """Start the janitor and keeper of a lab with a new id, in a folder of its own."""
    lab_id = secrets.token_hex(4)
    return start_janitor(_place_for(lab_id), lab_id)


def end_lab(janitor: subprocess.Popen[bytes], keeper: Keeper, *, keep_files: bool = False) -> None:
    """Have the janitor end a lab; :class:`LabError` when something is left."""
    assert janitor.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        if keep_files:
            janitor.stdin.write(b"keep\n")
        janitor.stdin.close()
    if janitor.stdout is not None:
        janitor.stdout.close()
    if janitor.wait() != 0:
        raise LabError(
            f"the lab {keeper.lab_id} left something behind",
            hint="`swarm-chaos clean` lists and removes it",
        )


def _place_for(lab_id: str) -> Path:
    """Where a lab's folder is to be; the janitor makes it, the one above it is made here."""
    base = labs_folder()
    folder = base / lab_id
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        raise LabError(
            f"the path {base} is too long for unix sockets below it",
            hint=f"set SWARM_CHAOS_LABS to a path of at most {_LONGEST_FOLDER - 9} bytes",
        )
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        trouble = untrusted(base)
    except OSError as error:
        raise LabError(
            f"cannot make a folder for labs at {base}: {error.strerror}",
            hint="set SWARM_CHAOS_LABS to a folder that you own",
        ) from error
    if trouble:
        raise LabError(
            f"the folder for labs, {base}, {trouble}",
            hint="set SWARM_CHAOS_LABS to a folder that you own and nobody else can write to",
        )
    return folder


def copy_scripts(folder: Path) -> None:
    """Put what brings nodes and client hosts up into a folder of the lab."""
    try:
        folder.mkdir()
        for script in sorted(_SCRIPTS.iterdir()):
            (folder / script.name).write_bytes(script.read_bytes())
    except OSError as error:
        raise LabError(
            f"cannot write into the lab's folder {folder.parent}: {error.strerror}",
            hint="free some space there, or set SWARM_CHAOS_LABS to another folder",
        ) from error


def _install_seed(node: LocalNode, seed: Path | None) -> None:
    if seed is None:
        return
    from harness.lab.image_seed import install_seed

    node.dir.mkdir(mode=0o700, exist_ok=True)
    install_seed(seed, node.dir / "data")
