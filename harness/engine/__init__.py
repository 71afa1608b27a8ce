"""Which Docker Engine: names, versions read back from the binaries, root file systems."""

from harness.engine.catalogue import (
    COMPONENTS,
    KNOWN,
    Component,
    EngineSpec,
    KnownEngine,
    resolve,
)
from harness.engine.roots import (
    Engine,
    EngineFacts,
    cached,
    engine_at,
    provide,
    provide_facts,
    provide_tar,
)
from harness.engine.versions import release_in, release_key, same_release

__all__ = [
    "COMPONENTS",
    "KNOWN",
    "Component",
    "Engine",
    "EngineFacts",
    "EngineSpec",
    "KnownEngine",
    "cached",
    "engine_at",
    "provide",
    "provide_facts",
    "provide_tar",
    "release_in",
    "release_key",
    "resolve",
    "same_release",
]
