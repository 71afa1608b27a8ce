"""The ssh lab: nodes on machines of an inventory, one on each, over a fabric that spans them.

::

    this machine                              a machine of the inventory
      janitor                                   sshd
       `- keeper: a bridge                       `- warden
           |- client: a client host                  `- janitor
           `- tunnel m1 ======= VXLAN =======             `- keeper: a bridge
                                                              |- tunnels to all other machines
                                                              `- m1: a node

On each machine it is as in a lab of one machine (:mod:`harness.lab.namespaces`): the node has
namespaces and a root of its own, and a dockerd of the harness's. The machine's own Docker, network
and files are not touched. When this process ends, or its connection, the warden ends the lab there.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from harness.engine import Engine
from harness.errors import HarnessError, LabError, MissingError
from harness.lab.client_host import LocalClientHost
from harness.lab.features import probe_features
from harness.lab.keeper import Keeper
from harness.lab.local_lab import LocalLab, copy_scripts, new_lab
from harness.lab.ssh.inventory import Inventory
from harness.lab.ssh.machine import CONTROLLER, Machine, MachineLab, Tunnel, fabric_script
from harness.lab.ssh.machines import Machines, each_of
from harness.lab.ssh.node import SshNode, log_of
from harness.lab.topology import Topology

PROGRAMS = ("ssh", "tar", "unshare", "nsenter", "mount", "ip")

#: Seconds between two signs of life; the wardens wait for several.
_BEAT = 5.0


class _ClientSide(LocalLab[Any]):
    """What this machine has of the lab: client hosts, and a bridge with tunnels to the nodes."""

    name = "ssh"

    @classmethod
    def bring_up(cls, topology: Topology, tunnels: Sequence[Tunnel]) -> Self:
        """Make it; on any error all of it is gone again."""
        janitor, keeper = new_lab()
        side = cls(topology, keeper, {})
        side._janitor = janitor
        try:
            copy_scripts(keeper.scripts)
            _cable(keeper, tunnels)
        except BaseException:
            side.close()
            raise
        return side


class SshLab:
    """A lab of machines. Needs root here, for the client hosts, and there."""

    name = "ssh"
    own_kernel = False

    def __init__(
        self,
        topology: Topology,
        side: _ClientSide,
        machines: Machines,
        parts: Sequence[MachineLab],
        nodes: Mapping[str, SshNode],
    ) -> None:
        self.topology = topology
        self.nodes = dict(nodes)
        self._side = side
        self._machines = machines  # whose connections end with it, and with them the lab
        self._parts = tuple(parts)
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="ssh-lab", daemon=True)
        self._beating.start()

    @classmethod
    def build(
        cls,
        topology: Topology,
        engine_for: Callable[[str], Engine],
        *,
        machines: Machines,
        seed_for: Callable[[Engine], Path | None] = lambda _: None,
    ) -> Self:
        """Bring up every node of a topology with its dockerd answering, one on each machine.

        The machines have been checked; those that the topology does not need are left alone.
        Raises :class:`LabError` when there are too few, before any is touched.
        """
        places = list(topology.places())
        if len(places) > len(machines):
            raise LabError(
                f"{topology} needs {len(places)} machines, and the inventory lists {len(machines)}",
                hint=f"list more, or choose a smaller swarm: --topology {smaller(len(machines))}",
            )
        chosen = list(machines)[: len(places)]
        engines = {place.name: engine_for(place.name) for place in places}
        seeds = {name: seed_for(engine) for name, engine in engines.items()}
        with contextlib.ExitStack() as made:
            each_of(lambda machine: machine.prepare(), chosen)
            each_of(
                lambda pair: pair[0].root_of(pair[1]),
                list(zip(chosen, engines.values(), strict=True)),
            )
            _require_mesh(chosen)
            tunnels = tunnels_between(
                [place.name for place in places],
                [machine.fabric_address for machine in chosen],
                machines.inventory,
            )
            side = _ClientSide.bring_up(topology, tunnels[0])
            made.callback(side.close)
            parts: list[MachineLab] = []
            for machine in chosen:
                parts.append(MachineLab(machine, secrets.token_hex(4)))
                made.callback(parts[-1].close)
            nodes = {
                place.name: SshNode(
                    place, engines[place.name], side.folder / "nodes" / place.name, part
                )
                for place, part in zip(places, parts, strict=True)
            }
            lab = cls(topology, side, machines, parts, nodes)
            made.pop_all()
        try:
            each_of(lambda pair: pair[0].cable(pair[1]), list(zip(parts, tunnels[1:], strict=True)))
            each_of(lambda node: _start(node, seeds[node.name]), list(nodes.values()))
        except BaseException:
            with contextlib.suppress(HarnessError):  # the first error says more
                lab.close()
            raise
        return lab

    @property
    def folder(self) -> Path:
        """Where its files are on this machine."""
        return self._side.folder

    @property
    def here(self) -> NoReturn:
        """:class:`LabError`: its nodes are on other machines."""
        raise LabError("the nodes of the ssh lab are on other machines, which cannot be entered")

    @property
    def fabric(self) -> tuple[Any, ...]:
        """Its bridges: this machine's, and one on each machine."""
        return (self._side.keeper, *self._parts)

    @property
    def client_hosts(self) -> dict[str, LocalClientHost]:
        """The client hosts that were asked for so far, by name."""
        return self._side.client_hosts

    def cpu_counters(self) -> dict[str, Callable[[], dict[str, str]]]:
        """Return how to read each machine's counters of CPU time, by the machine's name."""
        return {part.machine.name: part.cpu_counters for part in self._parts}

    def node(self, name: str) -> SshNode:
        """Return a node by its name; :class:`LabError` naming those there are."""
        try:
            return self.nodes[name]
        except KeyError:
            raise LabError(
                f"there is no node {name!r}; there are {', '.join(self.nodes)}"
            ) from None

    def client_host(self, name: str = "client") -> LocalClientHost:
        """Return the client host of this name, brought up when first asked for."""
        return self._side.client_host(name)

    def describe(self) -> Path:
        """Write ``lab.json``; no other process can attach to this lab."""
        return self._side.describe()

    def collect_logs(self, into: Path) -> None:
        """Copy every dockerd's log to ``into/<node>.log``."""
        for node in self.nodes.values():
            done = node.machine.connection.run(
                ["cat", str(log_of(node.machine, node.name))], check=False
            )
            if done.code == 0:
                (into / f"{node.name}.log").write_bytes(done.stdout)

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
        """Let go of sockets, threads and descriptors; the lab goes on."""
        self._side.release()
        for node in self.nodes.values():
            node.close()

    def close(self, *, keep_files: bool = False) -> None:
        """End every process of the lab and remove its files, everywhere; safe to call twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._beating.join()
        self.release()
        try:
            each_of(lambda part: part.close(), self._parts)
        finally:
            self._side.close(keep_files=keep_files)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT):
            for part in self._parts:
                part.beat()


def smaller(machines: int) -> str:
    """Return the topology of as many machines that tolerates most."""
    managers = min(3, machines - (machines + 1) % 2) if machines > 1 else 1
    workers = machines - managers
    return f"{managers}m" + (f"{workers}w" if workers else "")


def _require_mesh(machines: Sequence[Machine]) -> None:
    """Workloads are made for what this kernel can carry: each machine's has to, too."""
    without = [machine.name for machine in machines if not machine.mesh]
    if without and probe_features().mesh:
        raise MissingError(
            f"the routing mesh would fail on {', '.join(without)}: this machine's kernel carries "
            "it, and theirs does not",
            hint="run there: modprobe ip_vs; sysctl -w net.ipv4.ip_forward=1",
        )


def _start(node: SshNode, seed: Path | None) -> None:
    node.plug_in()
    if seed is not None:
        node.seed(seed)
    node.start()


def _cable(keeper: Keeper, tunnels: Sequence[Tunnel]) -> None:
    done = subprocess.run(
        ["sh", "-c", fabric_script(keeper.keeper, tunnels)], capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise LabError(f"the fabric did not come up on this machine: {said}")


def tunnels_between(
    names: Sequence[str], addresses: Sequence[str], inventory: Inventory
) -> list[list[Tunnel]]:
    """Each machine's tunnels to all others, this machine's first; a number for each pair."""
    lab, port = secrets.randbelow(1 << 8) << 16, inventory.fabric_port
    names = [CONTROLLER, *names]
    found: list[list[Tunnel]] = [[] for _ in names]
    for i, name in enumerate(names):
        for j in range(i + 1, len(names)):
            theirs = addresses[j - 1]
            mine = addresses[i - 1] if i else _source_towards(theirs)
            seen = mine if i else inventory.controller_address or mine
            number = lab | i << 8 | j
            found[i].append(Tunnel(names[j], number, mine, theirs, port))
            found[j].append(Tunnel(name, number, theirs, seen, port))
    return found


def _source_towards(address: str) -> str:
    """The address of this machine from which it would reach another one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((address, 9))
        except OSError as error:
            raise LabError(f"this machine has no route to {address}: {error.strerror}") from error
        name: str = asked.getsockname()[0]
        return name
