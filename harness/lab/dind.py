"""The dind lab: nodes as privileged containers of an engine of this machine (Docker in Docker).

::

    outer engine         this machine's, or the harness's own (harness.lab.own_engine)
      |- m1 init         a container: sleeps; process 1 of the node's own pid namespace
      |    |- dockerd, containerd, shims, tasks
      |- w1 init ...
    keeper               its network namespace is the fabric
      `- client          a client host: a network namespace on the fabric

The containers have no network of the outer engine's: a cable leads from each to the lab's own
fabric, so no subnet, name or pool of the user's is met, and no rule of the outer engine is
in a node. All else is as in every lab on this kernel (:mod:`harness.lab.local_lab`): a node is
entered by its pid. The lab's janitor removes the containers by their label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests
from docker.errors import DockerException, NotFound
from docker.types import Mount

from harness.engine import EngineFacts, engine_at
from harness.errors import LabError
from harness.lab.cgroups import NodeGroups
from harness.lab.janitor import CGROUP_ROOT, LABEL
from harness.lab.keeper import Keeper
from harness.lab.local_lab import LocalLab, new_lab, require_root
from harness.lab.network import PREFIX, mac_of
from harness.lab.node import LocalNode
from harness.lab.nsenter import Completed, complete, entering
from harness.lab.outer_engine import ImageEngine, OuterEngine, said_by
from harness.lab.processes import children
from harness.lab.topology import Place, Topology

if TYPE_CHECKING:
    from docker.models.containers import Container

PROGRAMS = ("unshare", "nsenter", "mount", "ip", "tar")

#: What a container runs: something that sleeps, with orphans reaped. Debian's env can ignore
#: SIGCHLD, at which the kernel does it; Docker's own image has busybox, and docker-init.
_INIT = (
    "env --ignore-signal=CHLD true 2>/dev/null &&"
    " exec env --ignore-signal=CHLD,INT,TERM,HUP sleep infinity;"
    " exec docker-init -- sleep infinity"
)

#: Lays a node's cable, in the fabric's namespace: name, pid as this side counts, address, MAC. Only
#: programs of this side run for it. The kernel takes its time to remove the cable of a dead node.
_CABLE = """
set -eu
ip link delete "$1" 2>/dev/null || true
ip link add "$1" type veth peer name eth0 address "$4" netns "$2"
ip link set "$1" master fabric up
nsenter --net="/proc/$2/ns/net" sh -c '
    ip link set lo up && ip address add "$1" dev eth0 && ip link set eth0 up' sh "$3"
"""

#: Done in a node before its dockerd: as hack/dind of moby, for volumes that are shared.
_PREPARE = "mount --make-rshared /"

#: Seconds for the outer engine to see that a container whose init was killed has ended.
_SEEN_WITHIN = 30

#: The hint where the outer engine does not see what this process sees.
_ELSEWHERE = (
    "--lab dind needs an engine on this machine and in its first namespaces: not in a virtual "
    "machine (Docker Desktop) and not in a container"
)


class ContainerNode(LocalNode):
    """A node as a privileged container. Its data and its API's socket lie in its folder here."""

    def __init__(
        self, place: Place, engine: EngineFacts, keeper: Keeper, outer: OuterEngine
    ) -> None:
        super().__init__(place, engine, keeper)
        self.container = f"swarm-chaos-{keeper.lab_id}-{self.name}"
        self._outer = outer

    @property
    def environment(self) -> Mapping[str, str]:
        """As on every node; and containerd must not ask for AppArmor's profiles from in here."""
        return {**super().environment, "container": "docker"}

    def boot(self) -> None:
        """Switch the machine on, with the files it had; this does not start its dockerd."""
        if self.up:
            raise LabError(f"{self.name} is already switched on")
        for part in ("data", "api"):
            (self.dir / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.dir / "api" / "docker.sock").unlink(missing_ok=True)
        try:
            container = self._find() or self._create()
            container.start()
            container.reload()
        except (DockerException, requests.RequestException) as error:
            hint = _ELSEWHERE if "bind source path does not exist" in str(error) else None
            raise LabError(
                f"{self.name} did not come up: the engine at {self._outer.socket} says: "
                f"{said_by(error)}",
                hint=hint,
            ) from error
        init = int(container.attrs["State"]["Pid"])
        self._require_here(init)
        self._keeper.in_fabric(
            [
                *("sh", "-c", _CABLE, "sh", self.name, str(init)),
                *(f"{self.address}/{PREFIX}", mac_of(self.address)),
            ]
        )
        self._groups = self._groups_of(init, str(container.id))
        self._adopt(init)
        self._groups.settle()
        self._write_identity()
        self.disks.mount_all()

    def attach(self, init: int) -> None:
        """Attach to a container that is already running."""
        try:
            self._groups = self._groups_of(init, str(self._found().id))
        except (DockerException, requests.RequestException, OSError) as error:
            raise LabError(f"{self.name} (pid {init}) is gone: {said_by(error)}") from error
        super().attach(init)

    def network_tool(self, argv: Sequence[str]) -> Completed:
        """Run a program of this side in the node's network: Docker's own image has hardly any."""
        if not isinstance(self.engine, ImageEngine):
            return super().network_tool(argv)
        inside = entering(self.pid, ("net",), argv)
        return complete(inside, shown=argv, where=self.name, timeout=60.0).check(self.name)

    def kill(self) -> None:
        """Cut the power: every process of the node gets SIGKILL at once. Its files stay."""
        super().kill()
        try:
            self._found().wait(timeout=_SEEN_WITHIN)
        except (DockerException, requests.RequestException) as error:
            raise LabError(
                f"the engine at {self._outer.socket} has not seen the end of {self.name}: "
                f"{said_by(error)}"
            ) from error

    def facts(self) -> Mapping[str, object]:
        """Return what another process needs to attach to this node."""
        engine = self.engine
        known = asdict(engine) if isinstance(engine, ImageEngine) else {"name": engine.name}
        if (rootfs := getattr(engine, "rootfs", None)) is not None:
            known["rootfs"] = str(rootfs)
        return {
            "pid": self.pid if self.up else None,
            "engine": known,
            "outer engine": str(self._outer.socket),
        }

    # -- within --------------------------------------------------------------------------------

    def _find(self) -> Container | None:
        """The node's container, if it has the node's engine; one with another engine is removed."""
        try:
            container = self._outer.client.containers.get(self.container)
        except NotFound:
            return None
        if container.attrs["Image"] == self._outer.image_of(self.engine):
            return container
        container.remove(force=True, v=True)
        return None

    def _found(self) -> Container:
        return self._outer.client.containers.get(self.container)

    def _create(self) -> Container:
        binds = [
            Mount("/var/lib/docker", str(self.dir / "data"), type="bind"),
            Mount("/run/swarm-chaos", str(self.dir / "api"), type="bind"),
        ]
        if Path("/lib/modules").is_dir():
            binds.append(Mount("/lib/modules", "/lib/modules", type="bind", read_only=True))
        return self._outer.client.containers.create(
            self._outer.image_of(self.engine),
            name=self.container,
            hostname=self.name,
            labels={LABEL: self._keeper.lab_id, "swarm-chaos.node": self.name},
            entrypoint=["sh", "-c", _INIT],
            command=[],
            privileged=True,
            network_mode="none",
            cgroupns="private",
            cgroup_parent=self._cgroup_parent(),
            userns_mode="host",
            mounts=[*binds, *(Mount(at, None, type="tmpfs") for at in ("/run", "/tmp"))],
        )

    def _cgroup_parent(self) -> str:
        """The lab's own group, which its janitor empties; systemd wants a slice for it."""
        if self._outer.cgroup_driver == "systemd":
            return f"swarmchaos{self._keeper.lab_id}.slice"
        return f"/{CGROUP_ROOT}/{self._keeper.lab_id}"

    def _require_here(self, init: int) -> None:
        """Raise :class:`LabError` unless the container's pid and files are of this side."""
        inside = Path(f"/proc/{init}/root/run/swarm-chaos")
        try:
            same = inside.samefile(self.dir / "api")
        except OSError:
            same = False
        if not same:
            raise LabError(
                f"the engine at {self._outer.socket} counts processes or keeps files in "
                "another place than this machine's: its containers cannot be entered",
                hint=_ELSEWHERE,
            )

    def _groups_of(self, init: int, container: str) -> NodeGroups:
        """The container's groups; in hierarchies that the outer engine does not use, our own.

        A group of ours may be frozen from the node's last life, and is made anew.
        """
        lab = self._keeper
        own = NodeGroups.under(lab.janitor, lab.lab_dir, lab.lab_id, self.name)
        mounts = Path(f"/proc/{lab.janitor}/root{lab.lab_dir}/cgroup")
        its: dict[Path, Path] = {}
        for line in Path(f"/proc/{init}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if container in path:
                mount = mounts / ("v1/" + controllers if controllers else "v2")
                its[mount] = mount / path.strip("/").removesuffix("/init")
        depth = len(Path(CGROUP_ROOT, lab.lab_id, self.name).parts)
        missing = NodeGroups(
            None if own.unified is None or mounts / "v2" in its else own.unified,
            tuple(group for group in own.v1 if group.parents[depth - 1] not in its),
        )
        if self._init is None and not self._is_member(init, missing):
            missing.clear()
            missing.make_unfiltered()
            for pid in (init, *children(init)):
                for group in missing.leaves():
                    (group / "cgroup.procs").write_text(str(pid))
        unified = its.get(mounts / "v2", own.unified)
        if unified is not None:
            (unified / "init").mkdir(exist_ok=True)
        return NodeGroups(
            unified, tuple(its.get(group.parents[depth - 1], group) for group in own.v1)
        )

    @staticmethod
    def _is_member(init: int, groups: NodeGroups) -> bool:
        """Return whether a process is in these groups already (it was, when one attaches)."""
        return all(
            str(init) in (group / "cgroup.procs").read_text().split() if group.is_dir() else False
            for group in groups.leaves()
        )

    def _write_identity(self) -> None:
        self.run(["sh", "-c", _PREPARE])
        for name, text in {**self._name_files(), "machine-id": self._machine_id}.items():
            self.run(["sh", "-c", 'cat >"$1"', "sh", f"/etc/{name}"], stdin=text.encode())


class DindLab(LocalLab[ContainerNode]):
    """A lab of containers of this machine's engine. Needs root, and the engine."""

    name = "dind"

    @classmethod
    def build(
        cls,
        topology: Topology,
        engine_for: Callable[[str], EngineFacts],
        *,
        seed_for: Callable[[EngineFacts], Path | None] = lambda _: None,
        outer: OuterEngine | None = None,
    ) -> Self:
        """Bring up every node of a topology with its dockerd answering.

        As :meth:`harness.lab.namespaces.NamespacesLab.build`. ``outer`` defaults to the engine
        that ``DOCKER_HOST`` names. Nothing is made before it is known to be usable, and to have,
        or to have been given, an image of each engine.
        """
        require_root(cls.name, PROGRAMS)
        outer = outer or OuterEngine.from_environment()
        outer.check()
        engines = {place: engine_for(place.name) for place in topology.places()}
        for engine in engines.values():
            outer.image_of(engine)
        janitor, keeper = new_lab()
        assert janitor.stdin is not None
        janitor.stdin.write(f"containers {outer.socket}\n".encode())
        janitor.stdin.flush()
        nodes = {
            at.name: ContainerNode(at, engine, keeper, outer) for at, engine in engines.items()
        }
        lab = cls(topology, keeper, nodes)
        lab._come_up(janitor, lambda node: seed_for(node.engine))
        return lab

    @classmethod
    def attach(cls, lab_dir: Path) -> Self:
        """Take over a lab that another process has made and described."""
        return cls._attached(lab_dir, _node_of)

    def release(self) -> None:
        """Let go of sockets, threads and descriptors; the lab goes on (it was attached)."""
        super().release()
        for node in self.nodes.values():
            node._outer.close()


def _node_of(place: Place, keeper: Keeper, known: Mapping[str, Any]) -> ContainerNode:
    return ContainerNode(
        place, _engine_of(known["engine"]), keeper, _outer_at(known["outer engine"])
    )


@cache
def _outer_at(socket: str) -> OuterEngine:
    return OuterEngine(Path(socket))


def _engine_of(known: Mapping[str, Any]) -> EngineFacts:
    if "image" in known:
        return ImageEngine(**known)
    return replace(engine_at(Path(known["rootfs"])), name=known["name"])
