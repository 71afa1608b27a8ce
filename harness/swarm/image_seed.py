"""Nodes with the workload images in place: loaded once per engine, then planted on every node."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from harness.engine import Engine, EngineFacts
from harness.errors import SwarmError
from harness.images import Cache, Say, silent, workload_archive
from harness.lab import Lab, NamespacesLab, Node, Topology
from harness.lab.image_seed import capture_seed

KIND = "graph-seed"

_NEED = 600 << 20  # bytes: the archive, loaded, and the room to copy it


def _bare(engine: EngineFacts) -> Lab:
    assert isinstance(engine, Engine)
    return NamespacesLab.build(Topology(), lambda _: engine)


def seed_for(
    cache: Cache, *, say: Say = silent, bare: Callable[[EngineFacts], Lab] = _bare
) -> Callable[[EngineFacts], Path | None]:
    """Return a function from an engine to the seed of its nodes' ``/var/lib/docker``.

    A seed is made once per engine and set of images: a node of its own loads the images with
    ``docker load``, is stopped, and its data are kept. ``bare`` gives a lab of such a node.
    """
    archive = workload_archive(cache, say=say)
    images = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]

    def seed(engine: EngineFacts) -> Path:
        def recipe(folder: Path) -> None:
            say(f"loading the workload images into engine {engine.version} (once)")
            with closing(bare(engine)) as lab:
                _load(lab.node("m1"), archive, folder / "seed")

        key = f"{engine.version}-{engine.digest[:16]}-{images}"
        return (
            cache.build(KIND, key, recipe, lambda _: {"engine": engine.version}, need=_NEED)
            / "seed"
        )

    return seed


def _load(node: Node, archive: Path, seed: Path) -> None:
    load_into(node, archive)
    node.dockerd.stop()
    capture_seed(node.here.dir / "data", seed)


def load_into(node: Node, archive: Path) -> None:
    """Load an archive of images into a node's engine; :class:`SwarmError` if it loads none."""
    client = node.client(timeout=600)
    try:
        with archive.open("rb") as tar:
            if not client.images.load(tar):
                raise SwarmError(f"engine {node.engine.version} loaded nothing from {archive}")
    finally:
        client.close()
