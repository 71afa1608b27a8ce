"""Labs on this kernel by the name that ``--lab`` has for them: what each needs, and how it is made.

A maker belongs to a session: it provides each engine once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from harness.engine import Engine, EngineFacts, EngineSpec, provide, resolve
from harness.images import Cache, Say
from harness.lab import Lab, NamespacesLab, Topology
from harness.lab.local_lab import require_root
from harness.lab.namespaces import PROGRAMS
from harness.swarm.image_seed import seed_for


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


MAKERS: Mapping[str, type[NamespacesMaker | DindMaker]] = {
    "namespaces": NamespacesMaker,
    "dind": DindMaker,
}
