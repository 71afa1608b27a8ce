"""Nodes with the workload images in place: loaded once per engine, then planted on every node."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from harness.engine import Engine
from harness.errors import SwarmError
from harness.images import Cache, Say, silent, workload_archive
from harness.lab import NamespacesLab, Node, Topology
from harness.lab.image_seed import capture_seed

KIND = "graph-seed"

_NEED = 600 << 20  # bytes: the archive, loaded, and the room to copy it


def seed_for(cache: Cache, *, say: Say = silent) -> Callable[[Engine], Path | None]:
    """Return a function from an engine to the seed of its nodes' ``/var/lib/docker``.

    A seed is made once per engine and set of images: a node of its own loads the images with
    ``docker load``, is stopped, and its data are kept.
    """
    archive = workload_archive(cache, say=say)
    images = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]

    def seed(engine: Engine) -> Path:
        def recipe(folder: Path) -> None:
            say(f"loading the workload images into engine {engine.version} (once)")
            _load(engine, archive, folder / "seed")

        key = f"{engine.version}-{engine.digest[:16]}-{images}"
        return (
            cache.build(KIND, key, recipe, lambda _: {"engine": engine.version}, need=_NEED)
            / "seed"
        )

    return seed


def _load(engine: Engine, archive: Path, seed: Path) -> None:
    with NamespacesLab.build(Topology(), lambda _: engine) as lab:
        node = lab.node("m1")
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
