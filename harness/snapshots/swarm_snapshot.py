"""What a frozen swarm is made of: engines, kernel, topology, workload images, guest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

import harness
from harness.engine import EngineFacts, provide_facts, provide_tar, resolve
from harness.guest.contract import (
    ENGINES,
    FREEZE_PROGRESS,
    FREEZE_VARIABLE,
    REGISTRY,
    WORKLOAD_IMAGES,
)
from harness.images import Cache, Say, silent, workload_archive
from harness.images.kernel import debian_kernel
from harness.images.registry import registry_program
from harness.lab import Topology
from harness.snapshots.source_bundle import digest, freezing_sources
from harness.vm.guest_image import GuestImage, base_tar
from harness.vm.kernels import kernel_suite
from harness.vm.machine import Machine
from harness.vm.qemu_binary import own_qemu
from harness.vm.snapshot import FreezeSpec, Snapshot, freeze

#: What of the project's requirements only the host's side needs.
_HOST_ONLY = frozenset({"jinja2", "numpy", "plotly", "pytest-xdist", "scipy", "zstandard"})

#: A Debian root, an engine's and the Python packages take 0.9 GB; the rest is for the nodes.
_IMAGE_MIB = 3072


@dataclass(frozen=True)
class FrozenSwarm:
    """A swarm to be thawed: which engines, which kernel, which shape, which clock.

    ``others`` are engines that no node has when it is frozen, for a trial to install.
    """

    engine: str
    topology: Topology
    kernel: str
    machine: Machine
    others: tuple[str, ...] = ()

    @property
    def engines(self) -> tuple[str, ...]:
        """All engines in it, the default one first."""
        named = [self.engine, *self.topology.engines.values(), *self.others]
        return tuple(dict.fromkeys(named))


def freeze_swarm(
    wanted: FrozenSwarm, cache: Cache, *, say: Say = silent
) -> tuple[Snapshot, EngineFacts]:
    """Return the snapshot of a swarm, found or made, and the facts of its engine.

    A snapshot is found by a key over all that goes in: contents of the root file systems and
    images, kernel, QEMU and its switches, topology, and the sources that form the swarm.
    """
    return _Recipe(wanted, cache, _pins(), say).freeze()


def _pins() -> Path | None:
    """Return the pinned versions next to the harness. A freeze takes these and no others.

    Else one and the same swarm would have a key for each who asks.
    """
    pins = Path(harness.__file__).parent.parent / "constraints.txt"
    return pins if pins.is_file() else None


@dataclass(frozen=True)
class _Recipe:
    wanted: FrozenSwarm
    cache: Cache
    constraints: Path | None
    say: Say

    def freeze(self) -> tuple[Snapshot, EngineFacts]:
        own_qemu()  # a name that is not a QEMU is refused at once, not when all engines are built
        facts = {}
        for name in self.wanted.engines:
            asked = resolve(name)
            # The tar first: it is the form that is needed, and it knows the facts too.
            provide_tar(asked, self.cache, say=self.say)
            facts[name] = provide_facts(asked, self.cache, say=self.say)
        engine = facts[self.wanted.engine]
        topology = self.wanted.topology
        sources = freezing_sources()
        plan = {
            "topology": str(topology),
            "engines": {
                place.name: self._folder(topology.engines.get(place.name, self.wanted.engine))
                for place in topology.places()
            },
            "archive": WORKLOAD_IMAGES,
            "sources": digest(sources),
        }
        spec = FreezeSpec(
            image=self._image(),
            command=["python3", "-m", "harness.guest.agent"],
            payload=sources,
            machine=machine_for(facts.values(), self.wanted.machine),
            environment={FREEZE_VARIABLE: json.dumps(plan, sort_keys=True)},
            note={
                "engine": self.wanted.engine,
                "version": engine.version,
                "topology": str(topology),
                "kernel": self.wanted.kernel,
            },
        )
        announced = False

        def progress(line: str) -> None:
            nonlocal announced
            if not announced:
                announced = True
                self.say(
                    f"freezing a swarm of {topology} with engine {engine.version} "
                    f"(once; about two minutes)"
                )
            if line.startswith(FREEZE_PROGRESS):
                self.say(f"  {line.removeprefix(FREEZE_PROGRESS)}")

        return freeze(spec, self.cache, progress=progress, say=self.say), engine

    def _image(self) -> GuestImage:
        suite = kernel_suite(self.wanted.kernel)
        registry = registry_program(self.cache, say=self.say)
        return GuestImage(
            base=base_tar(self.cache, say=self.say),
            kernel=debian_kernel(suite, self.cache, say=self.say),
            requirements=guest_requirements(),
            constraints=self.constraints,
            trees={
                self._folder(name).lstrip("/"): provide_tar(resolve(name), self.cache, say=self.say)
                for name in self.wanted.engines
            },
            files={
                WORKLOAD_IMAGES.lstrip("/"): workload_archive(self.cache, say=self.say),
                **{f"{REGISTRY}/{name}".lstrip("/"): path for name, path in registry.files.items()},
            },
            size_mib=_IMAGE_MIB,
        )

    def _folder(self, name: str) -> str:
        return f"{ENGINES}/{self.wanted.engines.index(name)}"


def machine_for(engines: Iterable[EngineFacts], machine: Machine) -> Machine:
    """Return ``machine`` with the cgroup layout that ``engines`` need.

    Engines before 20.10 know version 1 only; later ones know both, so one old engine decides.
    """
    old = any(engine.cgroups == "v1" for engine in engines)
    return replace(machine, cgroup=1 if old else machine.cgroup)


def guest_requirements() -> list[str]:
    """Return the project's own requirements, less what only the host's side needs."""
    wanted = [Requirement(line) for line in requires("swarm-chaos") or ()]
    return sorted(
        f"{requirement.name}{requirement.specifier}"
        for requirement in wanted
        if requirement.marker is None and requirement.name.lower() not in _HOST_ONLY
    )
