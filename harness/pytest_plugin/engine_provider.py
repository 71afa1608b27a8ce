"""Engines for nodes on this kernel, and the images that the nodes start with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.engine import Engine, provide, resolve
from harness.images import Cache, Say
from harness.swarm import seed_for


@dataclass
class EngineProvider:
    """Provides each engine once in a session."""

    cache: Cache
    say: Say
    _engines: dict[str, Engine] = field(default_factory=dict)

    def engine(self, name: str) -> Engine:
        """Return the engine of this name, built if it must be."""
        if name not in self._engines:
            self._engines[name] = provide(resolve(name), self.cache, say=self.say)
        return self._engines[name]

    def seed(self, engine: Engine) -> Path | None:
        """Return what nodes with this engine start from: the workload images, loaded."""
        return seed_for(self.cache, say=self.say)(engine)
