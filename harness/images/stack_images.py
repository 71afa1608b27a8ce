"""Images of a stack of one's own: found in what its user has, and written as one archive.

A source is an archive of ``docker save``, an OCI layout (a folder, or a tar of one), or an engine's
socket, from which is only read. What is written keeps each image's configuration to the byte, and
so its id; every layer is held against the digest that the configuration has of it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

import requests

from harness.errors import UsageError
from harness.images.cache import Cache, Say, silent
from harness.images.debian import SOURCE_DATE_EPOCH

KIND = "stack-images"

_PLATFORM = ("linux", "amd64")
_CHUNK = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

#: Annotations by which an OCI layout names an image: containerd's in full, the standard's as it was
#: given, which may be a tag alone.
_FULL_NAME, _REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"

#: Seconds that an engine may say nothing; it may take long to gather a large image.
_TIMEOUT = 600


@dataclass(frozen=True)
class Reference:
    """An image as a compose file names it: ``nginx``, ``r.example:5000/web:3@sha256:...``."""

    name: str
    """Without tag and digest, and without what Docker adds (``docker.io/library/``)."""
    tag: str
    """"" beside a digest."""
    digest: str

    @classmethod
    def parse(cls, written: str) -> Reference:
        """Read a reference; :class:`UsageError` for a digest that is none."""
        named, _, digest = written.partition("@")
        if digest and not _DIGEST.fullmatch(digest):
            raise UsageError(f"{written!r} has no valid digest: give sha256: and 64 hex digits")
        name, colon, tag = named.rpartition(":")
        if not colon or "/" in tag:
            name, tag = named, "" if digest else "latest"
        name = name.removeprefix("docker.io/").removeprefix("library/")
        return cls(name, tag, digest)

    @property
    def written(self) -> str:
        """What an engine is asked for."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def local(self) -> str:
        """The name under which nodes have it, with a tag in the digest's place."""
        if not self.digest:
            return f"{self.name}:{self.tag}"
        short = self.digest.removeprefix("sha256:")[:12]
        return f"{self.name}:{'-'.join(filter(None, (self.tag, short)))}"


class Blobs(Protocol):
    """Files by name, of a folder or of a tar."""

    def open(self, name: str) -> IO[bytes] | None:
        """Open a file; None if there is none of that name."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Folder:
    """The files of a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> IO[bytes] | None:
        """Open a file; None if there is none of that name, or it is elsewhere."""
        path = (self._root / name).resolve()
        inside = path.is_relative_to(self._root.resolve()) and path.is_file()
        return path.open("rb") if inside else None

    def close(self) -> None:
        """Do nothing: files are closed by whoever opened them."""


class Tar:
    """The files of a tar, which may be compressed as a whole."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path)  # noqa: SIM115 - until close()
        self._members = {each.name.removeprefix("./"): each for each in self._tar}

    def open(self, name: str) -> IO[bytes] | None:
        """Open a file; None if there is none of that name."""
        member = self._members.get(name)
        if member is None:
            return None
        return self._tar.extractfile(member)  # follows links: docker save links equal layers

    def close(self) -> None:
        """Close the tar."""
        self._tar.close()


@dataclass
class Image:
    """An image in a source: its names, the digests that name it, and where its parts are."""

    config: bytes
    layers: tuple[str, ...]
    blobs: Blobs
    names: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)

    @property
    def id(self) -> str:
        """The digest of its configuration, which is its id."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"


class Source(Protocol):
    """Where images are."""

    def find(self, wanted: Reference) -> str | None:
        """Return what tells an image from all others there; None if it is not there."""
        ...

    def images(self, found: Iterable[str], scratch: Path) -> dict[str, Image]:
        """Return the images by what :meth:`find` told of them; ``scratch`` is a folder to fill."""
        ...

    def close(self) -> None:
        """Close what is open: images that came from it cannot be read any more."""
        ...


class FileSource:
    """An archive of `docker save`, or an OCI layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blobs: Blobs | None = None

    @cached_property
    def _all(self) -> list[Image]:
        try:
            self._blobs = Folder(self.path) if self.path.is_dir() else Tar(self.path)
            found = list(_catalogue(self._blobs, self.path.name.partition(".")[0]))
        except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise self._wrong(str(error)) from None
        if not found:
            raise self._wrong("it has neither a manifest.json nor an index.json with images in it")
        return found

    def _wrong(self, why: str) -> UsageError:
        return UsageError(
            f"{self.path} holds no images: {why}",
            hint="give what `docker save NAME... -o images.tar` writes, or an OCI layout",
        )

    def find(self, wanted: Reference) -> str | None:
        """Return the image's id; one that is wanted by digest is found by digest alone."""
        for image in self._all:
            if wanted.digest in image.digests if wanted.digest else wanted.local in image.names:
                return image.id
        return None

    def images(self, found: Iterable[str], scratch: Path) -> dict[str, Image]:  # noqa: ARG002
        """Return the images of those ids."""
        return {image.id: image for image in self._all if image.id in found}

    def close(self) -> None:
        """Close the tar, if it is one."""
        if self._blobs is not None:
            self._blobs.close()

    def by_digest(self, digest: str) -> Image | None:
        """Return the image that an engine knows by that id: a configuration's or a manifest's."""
        return next((i for i in self._all if digest == i.id or digest in i.digests), None)


class EngineSource:
    """A local engine, by its socket: it is asked for images, and nothing is changed there."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._exported: list[FileSource] = []

    @cached_property
    def _api(self) -> Any:
        from docker import APIClient
        from docker.errors import DockerException

        try:
            return APIClient(base_url=f"unix://{self.socket}", timeout=_TIMEOUT)
        except (DockerException, requests.RequestException, ValueError) as error:
            raise UsageError(
                f"no Docker Engine answers at {self.socket}: {error}",
                hint="give the engine's socket, or --images docker for the one of DOCKER_HOST",
            ) from None

    def find(self, wanted: Reference) -> str | None:
        """Return the engine's id of the image; None if it does not have it."""
        from docker.errors import APIError, ImageNotFound

        try:
            return str(self._api.inspect_image(wanted.written)["Id"])
        except ImageNotFound:
            return None
        except (APIError, requests.RequestException) as error:
            raise UsageError(f"the engine at {self.socket} answers: {error}") from None

    def images(self, found: Iterable[str], scratch: Path) -> dict[str, Image]:
        """Have the engine export the images of those ids."""
        ids = sorted(set(found))
        path = scratch / "exported.tar"
        where = f"{self._api.base_url}/v{self._api.api_version}/images/get"
        try:
            with (
                self._api.get(where, params={"names": ids}, stream=True, timeout=_TIMEOUT) as reply,
                path.open("wb") as target,
            ):
                reply.raise_for_status()
                for chunk in reply.iter_content(_CHUNK):
                    target.write(chunk)
        except requests.RequestException as error:
            raise UsageError(f"the engine at {self.socket} exports no images: {error}") from None
        exported = FileSource(path)
        self._exported.append(exported)
        images = {each: exported.by_digest(each) for each in ids}
        if missing := [each for each, image in images.items() if image is None]:
            raise UsageError(f"the engine at {self.socket} did not export {', '.join(missing)}")
        return {each: image for each, image in images.items() if image is not None}

    def close(self) -> None:
        """Close what was exported, and the connection."""
        for exported in self._exported:
            exported.close()
        if "_api" in self.__dict__:
            self._api.close()


def source_at(written: str, docker_host: str = "") -> Source:
    """Return the source that a user means: a file, a folder, a socket, or ``docker``.

    ``docker`` is the engine of ``docker_host`` (DOCKER_HOST), else the one at the default socket.
    Raises :class:`UsageError` for what is none of these.
    """
    if written == "docker":
        written = docker_host or "unix:///var/run/docker.sock"
    if written.startswith(("tcp://", "ssh://", "http://", "https://")):
        raise UsageError(
            f"{written} is another machine's engine: images are taken from one of this machine",
            hint="docker save NAME... -o images.tar there, and give --images images.tar",
        )
    path = Path(written.removeprefix("unix://"))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"there are no images at {path}: {error.strerror}",
            hint="give a tar of `docker save`, an OCI layout, an engine's socket, or docker",
        ) from None
    return EngineSource(path) if stat.S_ISSOCK(mode) else FileSource(path)


def gathered(
    wanted: Sequence[Reference], sources: Sequence[Source], cache: Cache, *, say: Say = silent
) -> Path:
    """Return an archive of ``docker save`` with all wanted images, as nodes load it.

    It is kept in the cache under the images' ids. Raises :class:`UsageError` for images that no
    source has, that are for another machine, or that are damaged.
    """
    try:
        return _gathered(wanted, sources, cache, say)
    finally:
        for source in sources:
            source.close()


def write_images(target: Path, images: Mapping[str, Image], scratch: Path) -> None:
    """Write images under their names as an archive of ``docker save``, layers not compressed."""
    layers: dict[str, Path] = {}
    manifest = []
    for name, image in sorted(images.items()):
        config = json.loads(image.config)
        platform = (config.get("os"), config.get("architecture"))
        if platform != _PLATFORM:
            raise UsageError(
                f"the image {name} is for {'/'.join(map(str, platform))}, and nodes are linux/amd64"
            )
        digests = config["rootfs"]["diff_ids"]
        if len(digests) != len(image.layers):
            raise UsageError(f"the image {name} has {len(image.layers)} of {len(digests)} layers")
        for digest, layer in zip(digests, image.layers, strict=True):
            if digest not in layers:
                layers[digest] = scratch / digest.removeprefix("sha256:")
                _unpack(image, layer, layers[digest], digest, name)
        manifest.append(
            {
                "Config": f"{image.id.removeprefix('sha256:')}.json",
                "RepoTags": [name],
                "Layers": [f"{each.removeprefix('sha256:')}/layer.tar" for each in digests],
            }
        )
    configs = {f"{i.id.removeprefix('sha256:')}.json": i.config for i in images.values()}
    with tarfile.open(target, "w:", format=tarfile.PAX_FORMAT) as tar:
        for digest, path in sorted(layers.items()):
            with path.open("rb") as source:
                name = f"{digest.removeprefix('sha256:')}/layer.tar"
                _add(tar, name, path.stat().st_size, source)
        for name, data in (*sorted(configs.items()), ("manifest.json", _json(manifest))):
            _add(tar, name, len(data), io.BytesIO(data))


# -- within ------------------------------------------------------------------------------------


def _gathered(
    wanted: Sequence[Reference], sources: Sequence[Source], cache: Cache, say: Say
) -> Path:
    places: dict[Reference, tuple[Source, str]] = {}
    for each in wanted:
        hits = ((source, id_) for source in sources if (id_ := source.find(each)))
        if hit := next(hits, None):
            places[each] = hit
    if missing := [each.written for each in wanted if each not in places]:
        raise UsageError(
            f"nodes of a lab reach no registry, and nobody brings {', '.join(missing)}",
            hint=f"--images docker if your engine has it, or docker save {' '.join(missing)} -o "
            "images.tar and --images images.tar",
        )
    listed = sorted((each.local, id_) for each, (_, id_) in places.items())
    key = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:32]

    def recipe(folder: Path) -> None:
        say(f"gathering {len(listed)} images of the stack (once)")
        with tempfile.TemporaryDirectory(dir=folder) as name:
            images: dict[str, Image] = {}
            for number, source in enumerate(sources):
                scratch = Path(name) / str(number)
                scratch.mkdir()
                ids = [id_ for there, id_ in places.values() if there is source]
                own = source.images(ids, scratch) if ids else {}
                images |= {
                    each.local: own[id_] for each, (there, id_) in places.items() if there is source
                }
            write_images(folder / "images.tar", images, Path(name))

    return cache.build(KIND, key, recipe, {"images": dict(listed)}) / "images.tar"


def _catalogue(blobs: Blobs, stem: str) -> Iterator[Image]:
    """Return all images of a source; ``stem`` is its name, for those that have only a tag."""
    found: dict[str, Image] = {}

    def known(config: bytes, layers: Iterable[str]) -> Image:
        image = Image(config, tuple(layers), blobs)
        return found.setdefault(image.id, image)

    if (listed := _read(blobs, "manifest.json")) is not None:
        for entry in json.loads(listed):
            config = _needed(blobs, entry["Config"])
            image = known(config, entry["Layers"])
            image.names |= {Reference.parse(tag).local for tag in entry.get("RepoTags") or ()}
    if (listed := _read(blobs, "index.json")) is not None:
        for descriptor in json.loads(listed)["manifests"]:
            for digests, manifest in _manifests(blobs, descriptor, ()):
                image = known(
                    _needed(blobs, _blob(manifest["config"]["digest"])),
                    (_blob(layer["digest"]) for layer in manifest["layers"]),
                )
                image.digests |= set(digests)
                image.names |= set(_named(descriptor.get("annotations") or {}, stem))
    yield from found.values()


def _manifests(
    blobs: Blobs, descriptor: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Return a descriptor's manifests for this platform, with the digests that lead there."""
    platform = descriptor.get("platform") or {}
    if platform and (platform.get("os"), platform.get("architecture")) != _PLATFORM:
        return
    digest = descriptor["digest"]
    raw = _read(blobs, _blob(digest))
    if raw is None:
        return  # another platform's, which was not brought along
    if f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
        raise ValueError(f"the manifest {digest} is damaged")
    document = json.loads(raw)
    if "manifests" in document:
        for inner in document["manifests"]:
            yield from _manifests(blobs, inner, (*above, digest))
    elif "config" in document:
        yield (*above, digest), document


def _named(annotations: Mapping[str, str], stem: str) -> Iterator[str]:
    if full := annotations.get(_FULL_NAME):
        yield Reference.parse(full).local
    if name := annotations.get(_REF_NAME):
        yield Reference.parse(name if "/" in name or ":" in name else f"{stem}:{name}").local


def _blob(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a sha256 digest")
    return f"blobs/{digest.replace(':', '/')}"


def _read(blobs: Blobs, name: str) -> bytes | None:
    source = blobs.open(name)
    if source is None:
        return None
    with source:
        return source.read()


def _needed(blobs: Blobs, name: str) -> bytes:
    data = _read(blobs, name)
    if data is None:
        raise ValueError(f"{name} is missing")
    return data


def _unpack(image: Image, layer: str, target: Path, digest: str, name: str) -> None:
    """Write a layer without its compression, and hold it against its digest."""
    source = image.blobs.open(layer)
    if source is None:
        raise UsageError(f"the image {name} lacks the layer {layer}")
    with source, target.open("wb") as sink:
        start = source.read(4)
        source.seek(0)
        if start == _ZSTD:
            raise UsageError(
                f"a layer of the image {name} is compressed by zstd, which cannot be read here",
                hint="docker save writes layers that can be read",
            )
        opened: Callable[[int], bytes]
        opened = gzip.GzipFile(fileobj=source).read if start[:2] == _GZIP else source.read
        total = hashlib.sha256()
        try:
            while chunk := opened(_CHUNK):
                total.update(chunk)
                sink.write(chunk)
        except (OSError, EOFError) as error:
            raise UsageError(f"a layer of the image {name} cannot be read: {error}") from None
    if f"sha256:{total.hexdigest()}" != digest:
        raise UsageError(f"a layer of the image {name} is damaged: it has not the digest {digest}")


def _add(tar: tarfile.TarFile, name: str, size: int, source: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = size, SOURCE_DATE_EPOCH
    tar.addfile(member, source)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
