"""The fixture ``services``: external services, started when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.errors import UsageError
from harness.guest.contract import REGISTRY, WORKLOAD_IMAGES
from harness.images import WORKLOAD_TAGS, Cache, Say, silent, workload_archive
from harness.images.registry import RegistryProgram, registry_program
from harness.lab import Lab
from harness.services.base import ExternalService
from harness.services.gelf_sink import GelfSink
from harness.services.name_server import NameServer
from harness.services.registry import Registry
from harness.trial import Trial

S = TypeVar("S", bound=ExternalService)


@dataclass(frozen=True)
class ServiceAssets:
    """What services are made of: from a guest's disk, else from the cache, built when new."""

    cache: Cache
    say: Say = silent

    def registry(self) -> RegistryProgram:
        """Return docker-registry."""
        there = RegistryProgram(Path(REGISTRY))
        return there if there.complete else registry_program(self.cache, say=self.say)

    def images(self) -> Path:
        """Return the workload images as a docker-archive."""
        there = Path(WORKLOAD_IMAGES)
        return there if there.exists() else workload_archive(self.cache, say=self.say)


class Services:
    """The external services of one trial, by name. Each has a client host of that name.

    ::

        sink = services.gelf_sink()
        log = LogDriver("gelf", sink.options())
    """

    def __init__(self, lab: Lab, trial: Trial, assets: ServiceAssets) -> None:
        self._lab = lab
        self._trial = trial
        self._assets = assets
        self.running: dict[str, ExternalService] = {}

    def gelf_sink(self, name: str = "gelf") -> GelfSink:
        """Return the GELF sink of this name. Its samples are ``samples/<name>.jsonl``."""
        return self._one(
            name,
            GelfSink,
            lambda: GelfSink(
                self._lab,
                name,
                samples=self._trial.samples(name),
                log=self._trial.folder / "logs" / f"{name}.log",
                origin=self._trial.clock.origin,
            ),
        )

    def name_server(self, names: Mapping[str, str], name: str = "dns") -> NameServer:
        """Return the name server that every node asks; it knows ``names`` and no others."""
        log = self._trial.folder / "logs" / f"{name}.log"
        return self._one(
            name, NameServer, lambda: NameServer(self._lab, name, names=names, log=log)
        )

    def registry(self, name: str = "registry", **images: str) -> Registry:
        """Return the registry of this name; nodes trust it, and it requires a password.

        ``images`` are put into it when it starts: the workload's name by tag of that repository,
        ``app="1"`` for ``<registry>/app:1``.
        """

        def start() -> Registry:
            made = Registry(
                self._lab,
                name,
                program=self._assets.registry(),
                log=self._trial.folder / "logs" / f"{name}.log",
            )
            for workload, tag in images.items():
                self.publish(made, workload, workload, tag)
            return made

        return self._one(name, Registry, start)

    def publish(self, registry: Registry, workload: str, repository: str, tag: str) -> str:
        """Put a workload's image into a registry, under any name; return its digest."""
        return registry.publish(self._assets.images(), WORKLOAD_TAGS[workload], repository, tag)

    def close(self) -> None:
        """Stop them all."""
        for service in self.running.values():
            service.close()

    def _one(self, name: str, kind: type[S], start: Callable[[], S]) -> S:
        if name in self._lab.nodes:
            raise UsageError(f"{name!r} is a node: give an external service another name")
        there = self.running.get(name)
        if there is None:
            there = self.running[name] = start()
            self._trial.journal.write(
                "service.ready", service=name, what=there.kind, address=there.address
            )
        if not isinstance(there, kind):
            raise UsageError(f"the external service {name!r} is a {there.kind}, not a {kind.kind}")
        return there
