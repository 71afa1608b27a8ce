"""Labs on this kernel by the name that ``--lab`` has for them: what each needs, and how it is made.

A maker belongs to a session: it provides each engine once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.engine import Engine, EngineFacts, EngineSpec, provide, resolve
from harness.errors import UsageError
from harness.images import Cache, Say
from harness.lab import Lab, NamespacesLab, Topology
from harness.lab.local_lab import require_root
from harness.lab.namespaces import PROGRAMS
from harness.swarm.image_seed import seed_for

if TYPE_CHECKING:
    from harness.lab.ssh.machines import Machines
    from harness.lab.ssh.vagrant import VagrantMachines


class LabMaker(Protocol):
    """Makes labs of one kind."""

    def require(self, engines: Iterable[str] = ()) -> None:
        """Raise a :class:`~harness.errors.HarnessError` if no such lab can be made here.

        Nor with these engines, by name, as far as that shows without building one.
        """
        ...

    def engine(self, name: str) -> EngineFacts:
        """Return the engine of this name, built or pulled if it must be."""
        ...

    def make(self, topology: Topology, engine: str) -> Lab:
        """Bring up a lab; ``engine`` is that of nodes for which the topology names none."""
        ...


class NamespacesMaker:
    """Makes labs of namespaces."""

    def __init__(self, cache: Cache, say: Say) -> None:
        self._cache = cache
        self._say = say
        self._engines: dict[str, Engine] = {}

    def require(self, engines: Iterable[str] = ()) -> None:  # noqa: ARG002 - built, not pulled
        """Require root, and the programs."""
        require_root(NamespacesLab.name, PROGRAMS)

    def engine(self, name: str) -> Engine:
        """Return the engine of this name, built if it must be."""
        if name not in self._engines:
            self._engines[name] = provide(resolve(name), self._cache, say=self._say)
        return self._engines[name]

    def make(self, topology: Topology, engine: str) -> NamespacesLab:
        """Bring up a lab."""
        return NamespacesLab.build(
            topology,
            lambda node: self.engine(topology.engines.get(node, engine)),
            seed_for=seed_for(self._cache, say=self._say),
        )


class DindMaker:
    """Makes labs of containers of the engine that ``DOCKER_HOST`` names."""

    def __init__(self, cache: Cache, say: Say) -> None:
        from harness.lab.outer_engine import OuterEngine

        self._outer = OuterEngine.from_environment()
        self._own = NamespacesMaker(cache, say)
        self._cache = cache
        self._say = say
        self._engines: dict[str, EngineFacts] = {}

    def require(self, engines: Iterable[str] = ()) -> None:
        """Require root, the programs, an engine of this machine, and the images it is to run."""
        from harness.lab.dind import PROGRAMS as PROGRAMS_OF_DIND
        from harness.lab.dind import DindLab

        require_root(DindLab.name, PROGRAMS_OF_DIND)
        self._outer.check()
        for name in engines:
            if image_of(resolve(name)) is not None:
                self.engine(name)

    def engine(self, name: str) -> EngineFacts:
        """Return the engine of this name: an image, pulled if it must be, or one of our own."""
        if name not in self._engines:
            reference = image_of(resolve(name))
            self._engines[name] = (
                self._own.engine(name)
                if reference is None
                else self._outer.provide(reference, name, say=self._say)
            )
        return self._engines[name]

    def make(self, topology: Topology, engine: str) -> Lab:
        """Bring up a lab; what its nodes start with is kept in the cache, as for other labs."""
        from harness.lab.dind import DindLab

        def bare(engine: EngineFacts) -> Lab:
            if isinstance(engine, Engine):  # as the namespaces lab does, with the same outcome
                return NamespacesLab.build(Topology(), lambda _: engine)
            return DindLab.build(Topology(), lambda _: engine, outer=self._outer)

        return DindLab.build(
            topology,
            lambda node: self.engine(topology.engines.get(node, engine)),
            seed_for=seed_for(self._cache, say=self._say, bare=bare),
            outer=self._outer,
        )


class SshMaker:
    """Makes labs of the machines of an inventory; connections last as long as it."""

    def __init__(self, cache: Cache, say: Say, inventory: Path | None = None) -> None:
        self._own = NamespacesMaker(cache, say)
        self._cache = cache
        self._say = say
        self._path = inventory
        self._machines: Machines | None = None

    def require(self, engines: Iterable[str] = ()) -> None:  # noqa: ARG002 - built, not pulled
        """Require root, the programs, and every machine of the inventory; none is touched."""
        from harness.lab.ssh.lab import PROGRAMS as PROGRAMS_OF_SSH
        from harness.lab.ssh.machines import Machines

        if self._path is None:
            raise UsageError(
                "the ssh lab needs to know its machines",
                hint="name them: --inventory hosts.toml (docs/labs.md has an example)",
            )
        require_root("ssh", PROGRAMS_OF_SSH)
        if self._machines is None:
            self._machines = Machines.reached(self._path)

    def engine(self, name: str) -> Engine:
        """Return the engine of this name, built if it must be."""
        return self._own.engine(name)

    def make(self, topology: Topology, engine: str) -> Lab:
        """Bring up a lab; what its nodes start with is kept in the cache, as for other labs."""
        self.require()
        assert self._machines is not None
        return self._lab(topology, engine, self._machines)

    def _lab(self, topology: Topology, engine: str, machines: Machines) -> Lab:
        from harness.lab.ssh.lab import SshLab

        return SshLab.build(
            topology,
            lambda node: self.engine(topology.engines.get(node, engine)),
            machines=machines,
            seed_for=seed_for(self._cache, say=self._say),
        )


class VagrantMaker(SshMaker):
    """Makes labs of machines that Vagrant makes first; they are destroyed with it."""

    _vagrant: VagrantMachines | None = None

    def require(self, engines: Iterable[str] = ()) -> None:  # noqa: ARG002 - built, not pulled
        """Require root and the programs; no machine is made yet."""
        from harness.lab.ssh.lab import PROGRAMS as PROGRAMS_OF_SSH
        from harness.lab.ssh.vagrant import VagrantMachines

        require_root("vagrant", (*PROGRAMS_OF_SSH, "ssh-keyscan"))
        if self._vagrant is None:
            self._vagrant = VagrantMachines(self._say)

    def make(self, topology: Topology, engine: str) -> Lab:
        """Bring up as many machines as the topology needs, and a lab on them."""
        from harness.lab.ssh.machines import Machines

        self.require()
        assert self._vagrant is not None
        needed = len(list(topology.places()))
        if self._machines is None or len(self._machines) < needed:
            if self._machines is not None:
                self._machines.close()
            self._machines = Machines.made_for_a_run(self._vagrant.inventory(needed))
        return self._lab(topology, engine, self._machines)


def image_of(spec: EngineSpec) -> str | None:
    """Return the image that an engine's name means in the dind lab; None for one of our own.

    Any image by ``image:REF``; and a release that Debian does not serve is Docker's own image of
    it, ``docker:27.3.1-dind``, unless ``archive:`` asks for Docker's archive.
    """
    if spec.image is not None:
        return spec.image
    if spec.archive is None or spec.name.startswith("archive:"):
        return None
    return f"docker:{spec.archive.removesuffix('.*')}-dind"


MAKERS: Mapping[str, Callable[[Cache, Say, Path | None], LabMaker]] = {
    "namespaces": lambda cache, say, _: NamespacesMaker(cache, say),
    "dind": lambda cache, say, _: DindMaker(cache, say),
    "ssh": SshMaker,
    "vagrant": VagrantMaker,
}
"""What makes each lab, from an inventory where its machines are listed in one."""
