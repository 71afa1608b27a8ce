"""Image archives as ``docker load`` takes them, written the same to the byte each time.

The form is that of ``docker save`` before OCI layouts: layers as tars, a configuration per image
and a ``manifest.json``. Every engine from 17.03 to 28 reads it. Images that share a layer share
its file.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.images.cache import file_sha256
from harness.images.debian import SOURCE_DATE_EPOCH

_CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class LayerFile:
    """One name in a layer: a file, a folder (``data`` is None) or a symbolic link."""

    name: str
    """Relative to the root, without leading ``./``."""
    data: bytes | None = None
    link: str | None = None
    mode: int = 0o644


@dataclass(frozen=True)
class ImageRecipe:
    """One image of an archive."""

    tag: str
    """``name:tag``."""
    layers: tuple[Path, ...]
    """Layer tars, the lowest first."""
    config: Mapping[str, object]
    """The ``config`` object of the image: Entrypoint, Env, ExposedPorts, ..."""


def write_layer(target: Path, files: Iterable[LayerFile]) -> None:
    """Write ``files`` as a layer: by name, owned by root, of one fixed time."""
    with tarfile.open(target, "w:", format=tarfile.USTAR_FORMAT) as archive:
        for file in sorted(files, key=lambda each: each.name):
            archive.addfile(*_member(file))


def read_layer(layer: Path) -> list[LayerFile]:
    """Return what :func:`write_layer` wrote to ``layer``."""
    found = []
    with tarfile.open(layer, "r:") as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isfile() else None
            data = source.read() if source is not None else None
            link = member.linkname if member.issym() else None
            found.append(LayerFile(member.name, data, link, member.mode))
    return found


def write_archive(target: Path, images: Iterable[ImageRecipe]) -> None:
    """Write ``images`` as one docker-archive tar."""
    digests: dict[Path, str] = {}
    manifest = []
    configs: dict[str, bytes] = {}
    for image in images:
        for layer in image.layers:
            digests.setdefault(layer, file_sha256(layer))
        config = _config(image, [digests[layer] for layer in image.layers])
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        configs[name] = config
        manifest.append(
            {
                "Config": name,
                "RepoTags": [image.tag],
                "Layers": [f"{digests[layer]}/layer.tar" for layer in image.layers],
            }
        )
    with tarfile.open(target, "w:", format=tarfile.USTAR_FORMAT) as archive:
        for layer, digest in sorted(digests.items(), key=lambda pair: pair[1]):
            archive.addfile(*_member(LayerFile(digest, mode=0o755)))
            member = _info(f"{digest}/layer.tar", 0o644)
            member.size = layer.stat().st_size
            with layer.open("rb") as source:
                archive.addfile(member, source)
        for name, config in sorted(configs.items()):
            archive.addfile(*_member(LayerFile(name, config)))
        archive.addfile(*_member(LayerFile("manifest.json", _json(manifest))))


def _config(image: ImageRecipe, layer_digests: list[str]) -> bytes:
    return _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": _CREATED,
            "config": dict(image.config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in layer_digests]},
            "history": [{"created": _CREATED, "created_by": "swarm-chaos"} for _ in layer_digests],
        }
    )


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _member(file: LayerFile) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    member = _info(file.name, file.mode)
    if file.link is not None:
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, file.link, 0o777
        return member, None
    if file.data is None:
        member.type = tarfile.DIRTYPE
        return member, None
    member.size = len(file.data)
    return member, io.BytesIO(file.data)


def _info(name: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime, member.uname, member.gname = mode, SOURCE_DATE_EPOCH, "root", "root"
    return member
