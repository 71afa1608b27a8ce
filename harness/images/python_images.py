"""Images of one's own Python programs, made without Docker on the base of the workload images."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.images.cache import Cache, Say, silent
from harness.images.docker_archive import ImageRecipe, LayerFile, write_archive, write_layer
from harness.images.workload_images import WORKLOAD_TAGS, workload_archive

#: Where the base image has its programs, and imports from.
_HOME = "srv"


def write_python_images(
    target: Path,
    package: Path,
    modules: Mapping[str, str],
    cache: Cache,
    *,
    say: Say = silent,
) -> None:
    """Write an archive as ``docker save`` does, of images that run modules of ``package``.

    ``modules`` has the module of each image by its tag. The programs may import ``package``,
    ``workload.httpd`` (:mod:`harness.images.workload_programs.httpd`) and what the base has of the
    standard library, which is little: no ``http``, no ``asyncio``. Nodes have the base already, so
    that loading such an image is quick. Raises :class:`UsageError` for a package without modules.
    """
    sources = sorted(package.glob("*.py"))
    if not sources:
        raise UsageError(f"{package} is not a Python package: there are no modules in it")
    home = f"{_HOME}/{package.name}"
    with tempfile.TemporaryDirectory() as scratch:
        base, config = _base(workload_archive(cache, say=say), Path(scratch))
        layer = Path(scratch) / "programs.tar"
        files = [LayerFile(f"{home}/{each.name}", each.read_bytes()) for each in sources]
        folders = [LayerFile(home, mode=0o755), LayerFile("data", mode=0o755)]
        write_layer(layer, [*folders, *files])
        command = config["Entrypoint"]
        write_archive(
            target,
            [
                ImageRecipe(
                    tag, (*base, layer), {**config, "Entrypoint": [*command[:-1], modules[tag]]}
                )
                for tag in sorted(modules)
            ],
        )


def _base(archive: Path, scratch: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """Return the layers of the app's image, taken out of the archive, and its configuration."""
    layers = []
    with tarfile.open(archive, "r:") as tar:

        def member(name: str, target: Path) -> Path:
            source = tar.extractfile(name)
            assert source is not None, name
            with source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            return target

        listed = json.loads(member("manifest.json", scratch / "manifest.json").read_bytes())
        app = next(entry for entry in listed if WORKLOAD_TAGS["app"] in entry["RepoTags"])
        for number, name in enumerate(app["Layers"]):
            layers.append(member(name, scratch / f"base-{number}.tar"))
        config = json.loads(member(app["Config"], scratch / "config.json").read_bytes())["config"]
    del config["ExposedPorts"]
    return layers, config
