"""The namespaces lab: nodes as namespaces of this kernel, over an engine's root file system.

::

    keeper               process 1 of the lab's pid namespace
      |- m1 init         process 1 of the node's own pid namespace
      |    |- dockerd, containerd, shims, tasks
      |- w1 init ...
      `- client          a client host: a network namespace on the fabric

The rest is as in every lab on this kernel (:mod:`harness.lab.local_lab`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from harness.engine import Engine, EngineFacts, engine_at
from harness.errors import LabError
from harness.lab.dockerd import ALLOW_ALL, of_old
from harness.lab.keeper import Keeper
from harness.lab.local_lab import LocalLab, new_lab, require_root
from harness.lab.node import LocalNode
from harness.lab.topology import Place, Topology

PROGRAMS = ("unshare", "nsenter", "mount", "ip", "pivot_root")


class NamespaceNode(LocalNode):
    """A node as a set of namespaces, its root an overlay over the engine's."""

    engine: Engine

    def boot(self) -> None:
        """Switch the machine on, with the files it had; this does not start its dockerd."""
        if self.up:
            raise LabError(f"{self.name} is already switched on")
        for part in ("upper/etc", "upper/var/lib/docker", "work", "root", "data", "api"):
            (self.dir / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in ("upper", "upper/etc", "upper/var", "upper/var/lib"):
            (self.dir / part).chmod(0o755)
        self._write_identity()
        (self.dir / "api" / "docker.sock").unlink(missing_ok=True)
        self._groups.clear()
        self._groups.make()
        self._adopt(
            self._keeper.bring_up_node(
                self.place, self.address, self.dir, self.engine, self._groups.entry()
            )
        )
        self._groups.settle()
        self.disks.mount_all()

    def install(self, engine: EngineFacts) -> None:
        """Make the node boot with this engine from now on, over its files; it must be off."""
        if not isinstance(engine, Engine):
            raise LabError(f"engine {engine.version} has no root file system on this machine")
        super().install(engine)

    def facts(self) -> Mapping[str, object]:
        """Return what another process needs to attach to this node."""
        return {
            "pid": self.pid if self.up else None,
            "engine": {"name": self.engine.name, "rootfs": str(self.engine.rootfs)},
        }

    def _write_identity(self) -> None:
        etc = self.dir / "upper" / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        for name, text in self._name_files().items():
            (etc / name).write_text(text)
        (etc / "machine-id").write_text(self._machine_id)
        if of_old(self.engine):
            (etc / Path(ALLOW_ALL).name).write_text('{"defaultAction": "SCMP_ACT_ALLOW"}\n')


class NamespacesLab(LocalLab[NamespaceNode]):
    """A lab of nodes on this kernel. Needs root. ``with NamespacesLab.build(...) as lab:``."""

    name = "namespaces"

    @classmethod
    def build(
        cls,
        topology: Topology,
        engine_for: Callable[[str], Engine],
        *,
        seed_for: Callable[[Engine], Path | None] = lambda _: None,
    ) -> Self:
        """Bring up every node of a topology with its dockerd answering.

        ``engine_for`` gives each node's engine by the node's name. ``seed_for`` may give a folder
        that a node's ``/var/lib/docker`` starts from (see :mod:`harness.lab.image_seed`).
        """
        require_root(cls.name, PROGRAMS)
        engines = {place: engine_for(place.name) for place in topology.places()}
        janitor, keeper = new_lab()
        nodes = {at.name: NamespaceNode(at, engine, keeper) for at, engine in engines.items()}
        lab = cls(topology, keeper, nodes)
        lab._come_up(janitor, lambda node: seed_for(node.engine))
        return lab

    @classmethod
    def attach(cls, lab_dir: Path) -> Self:
        """Take over a lab that another process has made and described (a thawed guest)."""
        return cls._attached(lab_dir, _node_of)


def _node_of(place: Place, keeper: Keeper, known: Mapping[str, Any]) -> NamespaceNode:
    engine = engine_at(Path(known["engine"]["rootfs"]))
    return NamespaceNode(place, replace(engine, name=known["engine"]["name"]), keeper)
