"""From a name's meaning to an engine one can start: build or find its root file system.

Two forms of the same root: an unpacked tree for overlayfs (:func:`provide`, root only), and one
tar for the guest of the microVM lab (:func:`provide_tar`, any user that mmdebstrap serves).
Either holds ``usr/share/swarm-chaos/engine.json``, so that a root describes itself
(:func:`engine_at`).
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from harness.engine.catalogue import EngineSpec
from harness.engine.static import StaticArchive, open_static
from harness.engine.versions import release_in, release_key, same_release
from harness.errors import EngineError, MissingError, UsageError
from harness.images import (
    Cache,
    DebianBuild,
    DebianRecipe,
    Entry,
    Say,
    installed_packages,
    root_tar,
    root_tree,
    silent,
)
from harness.images.debian import SOURCE_DATE_EPOCH

TREE_KIND = "engine-tree"
TAR_KIND = "engine-tar"
ENGINE_FILE = "usr/share/swarm-chaos/engine.json"

_REVISION = 1
"""Part of every cache key: raise it when the recipe below changes."""

_BASE_REVISION = 2
"""The same for the plain root below a ``dir:`` engine."""

_VERSIONS_FILE = "usr/share/swarm-chaos/versions"
_DPKG_STATUS = "var/lib/dpkg/status"
# Put together: what only the host runs freezes no swarm anew.
_ARCHIVES, _MIXES = f"{__package__}.archives", f"{__package__}.mixes"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BASE_SUITE = "trixie"
_NEED = 900 << 20  # bytes: the root, and the packages while they are unpacked

_TOOLS = (
    *("iptables", "iproute2", "procps", "kmod", "mount", "ca-certificates"),
    *("ipvsadm", "conntrack", "nftables"),
)
# runc is static in Docker's archives; one built by hand wants its library
_BASE_TOOLS = (*_TOOLS, "libseccomp2")
_SPLIT_CLI = {"trixie", "sid"}  # from here on docker.io no longer brings /usr/bin/docker

_READ_BACK = (
    'mkdir -p "$1/usr/share/swarm-chaos" && chroot "$1" sh -c '
    "'dockerd --version && containerd --version && docker --version' "
    f'> "$1/{_VERSIONS_FILE}"'
)


@dataclass(frozen=True)
class EngineFacts:
    """What an engine is, whichever form its root has. Goes into a trial's record."""

    name: str
    """As it was asked for."""
    version: str
    """Release, read back from ``dockerd --version`` run inside the root."""
    source: str
    """Where it came from: ``debian:trixie docker.io 26.1.5+dfsg1-9+b9``, ``archive:27.3.1``
    (Docker's static archive) or ``dir:PATH``."""
    digest: str
    """sha256 over the versions of all packages in the root, and the binaries of a ``dir:``
    engine: equal digests, equal software, in either form."""
    dockerd: str
    """Absolute path of the daemon inside the root."""
    path: str
    """``PATH`` for the daemon: it finds containerd, runc and iptables there."""
    cgroups: Literal["v1", "v2"]
    """The hierarchy the engine needs: ``v1`` before 20.10, which knows no other."""
    containerd: str
    """Release of its containerd, ``unknown`` if it does not say."""
    cli: str
    """Release of the docker CLI in the root, ``none`` if there is none."""


@dataclass(frozen=True)
class Engine(EngineFacts):
    """An engine whose root file system lies unpacked on this machine."""

    rootfs: Path
    """Root of the tree; a lower layer for overlayfs, never written to."""

    def facts(self) -> EngineFacts:
        """Return the engine without the place where it lies."""
        return EngineFacts(**{each.name: getattr(self, each.name) for each in fields(EngineFacts)})


def provide(spec: EngineSpec, cache: Cache, *, say: Say = silent) -> Engine:
    """Return the engine as an unpacked root file system; root only.

    Builds it if the cache has none: about half a minute and 350 MB from a near mirror. Raises
    :class:`~harness.errors.EngineError` when what was found is not what was asked for or does
    not run here, :class:`~harness.errors.ImageError` when it cannot be built.
    """
    if os.geteuid() != 0:
        raise MissingError(
            "nodes as namespaces need root, and so does an engine unpacked for them",
            hint="run as root, or use --lab microvm",
        )
    if spec.parts:
        mixed: Engine = import_module(_MIXES).provide(spec, cache, say=say)
        return mixed
    archive = _archive_of(spec, cache, say)
    note: dict[str, object] = {}

    def recipe(work: Path) -> None:
        say(f"building the root file system of engine {spec.name} (once; about half a minute)")
        rootfs = work / "rootfs"
        if archive is None:
            note.update(root_tree(_debian_recipe(spec), rootfs, say=say).note())
        else:
            copy_tree(_base(cache, "base-tree", root_tree, "rootfs", say), rootfs)
            archive.install(rootfs / "usr/local/bin")
            (rootfs / _VERSIONS_FILE).parent.mkdir(parents=True)
            (rootfs / _VERSIONS_FILE).write_text(archive.read_back(rootfs))
        versions, status = ((rootfs / name).read_text() for name in (_VERSIONS_FILE, _DPKG_STATUS))
        facts = _facts(spec, archive, versions, status)
        (rootfs / ENGINE_FILE).write_bytes(as_json(facts))
        note["engine"] = facts

    folder = cache.build(TREE_KIND, _key(spec, archive), recipe, lambda _: note, need=_NEED)
    return _as_asked(spec, engine_at(folder / "rootfs"))


def provide_tar(spec: EngineSpec, cache: Cache, *, say: Say = silent) -> Path:
    """Return the engine's root as an uncompressed tar (names begin with ``./``); needs no root.

    An ordinary user needs ``uidmap`` and a range in /etc/subuid. Errors as in :func:`provide`.
    """
    if spec.parts:
        mixed: Path = import_module(_MIXES).provide_tar(spec, cache, say=say)
        return mixed
    archive = _archive_of(spec, cache, say)
    note: dict[str, object] = {}

    def recipe(work: Path) -> None:
        say(f"building the root archive of engine {spec.name} (once; about half a minute)")
        tar = work / "rootfs.tar"
        if archive is None:
            note.update(root_tar(_debian_recipe(spec), tar, say=say).note())
            versions = _tar_text(tar, _VERSIONS_FILE)
        else:
            versions = archive.read_back(None)
            shutil.copyfile(_base(cache, "base-tar", root_tar, "rootfs.tar", say), tar)
            archive.append_to(tar, "./usr/local/bin")
        facts = _facts(spec, archive, versions, _tar_text(tar, _DPKG_STATUS))
        append_file(tar, ENGINE_FILE, as_json(facts))
        note["engine"] = facts

    key = _key(spec, archive)
    folder = cache.build(TAR_KIND, key, recipe, lambda _: note, need=_NEED)
    _as_asked(spec, facts_of(_found(cache, TAR_KIND, key)))
    return folder / "rootfs.tar"


def provide_facts(spec: EngineSpec, cache: Cache, *, say: Say = silent) -> EngineFacts:
    """Return what the engine is; builds the form that this user can, if the cache has neither."""
    if spec.parts:
        mixed: EngineFacts = import_module(_MIXES).provide_facts(spec, cache, say=say)
        return mixed
    key = _key(spec, _archive_of(spec, cache, say))
    entries = _forms(key, cache)
    if entries:
        return _as_asked(spec, facts_of(entries[0]))
    if os.geteuid() == 0:
        return provide(spec, cache, say=say).facts()
    provide_tar(spec, cache, say=say)
    return _as_asked(spec, facts_of(_found(cache, TAR_KIND, key)))


def engine_at(rootfs: Path) -> Engine:
    """Return the engine whose root file system is unpacked at ``rootfs``, as its file says."""
    try:
        facts = msgspec.json.decode((rootfs / ENGINE_FILE).read_bytes(), type=EngineFacts)
    except (OSError, msgspec.MsgspecError) as error:
        raise EngineError(f"{rootfs} is not an engine's root file system: {error}") from error
    return Engine(**vars(facts), rootfs=rootfs)


def facts_of(entry: Entry) -> EngineFacts:
    """Return the facts in the manifest of an engine's cache entry."""
    try:
        return msgspec.convert(entry.manifest.note["engine"], EngineFacts)
    except (KeyError, msgspec.ValidationError) as error:
        raise EngineError(f"{entry.path} does not say what engine it holds: {error}") from error


def cached(spec: EngineSpec, cache: Cache) -> list[Entry]:
    """Return the forms of the engine that the cache holds, the unpacked tree first.

    Nothing is fetched: an archive that the cache has not is not asked for.
    """
    if spec.parts:
        mixed: list[Entry] = import_module(_MIXES).cached(spec, cache)
        return mixed
    if spec.archive is None:
        return _forms(_key(spec, _archive_of(spec, cache, silent)), cache)
    folder: Path | None = import_module(_ARCHIVES).find(spec.archive, cache)
    return [] if folder is None else _forms(_key(spec, open_static(folder)), cache)


def _forms(key: str, cache: Cache) -> list[Entry]:
    found = (cache.find(kind, key) for kind in (TREE_KIND, TAR_KIND))
    return [entry for entry in found if entry is not None]


def _archive_of(spec: EngineSpec, cache: Cache, say: Say) -> StaticArchive | None:
    """The binaries of an engine that is not Debian's; fetched if they must be."""
    if spec.image is not None:
        raise UsageError(
            f"engine {spec.name} is an image, and only nodes of the dind lab are made of images",
            hint="take --lab dind, or an engine that `swarm-chaos engines` lists",
        )
    if spec.folder is not None:
        return open_static(spec.folder)
    if spec.archive is None:
        return None
    fetched: Path = import_module(_ARCHIVES).provide_binaries(spec.archive, cache, say=say)
    return open_static(fetched)


def _key(spec: EngineSpec, archive: StaticArchive | None) -> str:
    if archive is not None:
        where = "dir" if spec.archive is None else "archive"
        return f"{where}-{archive.digest[:16]}-r{_REVISION}.{_BASE_REVISION}"
    return f"{spec.suite}-r{_REVISION}"


def _debian_recipe(spec: EngineSpec) -> DebianRecipe:
    suite = spec.suite or _BASE_SUITE
    cli = ("docker-cli",) if suite in _SPLIT_CLI else ()
    return DebianRecipe(suite, ("docker.io", *cli, *_TOOLS), hooks=(_READ_BACK,))


def _base(
    cache: Cache, kind: str, install: Callable[..., DebianBuild], name: str, say: Say
) -> Path:
    """The plain Debian root below a ``dir:`` engine, as the form that ``install`` makes."""
    note: dict[str, object] = {}

    def recipe(work: Path) -> None:
        say("building the plain Debian root it is based on first")
        recipe = DebianRecipe(_BASE_SUITE, _BASE_TOOLS)
        note.update(install(recipe, work / name, say=say).note())

    key = f"{_BASE_SUITE}-r{_BASE_REVISION}"
    return cache.build(kind, key, recipe, lambda _: note, need=_NEED) / name


def _facts(
    spec: EngineSpec, archive: StaticArchive | None, versions: str, dpkg_status: str
) -> EngineFacts:
    version = _version_of("Docker version", versions)
    if version is None:
        raise EngineError(
            f"the dockerd of engine {spec.name} does not say its version: "
            f"{versions.strip()[:200] or 'no output'}"
        )
    packages = installed_packages(dpkg_status)
    digest = hashlib.sha256(f"r{_REVISION}\n".encode())
    for name in sorted(packages):
        digest.update(f"{name} {packages[name]}\n".encode())
    if archive is None:
        source = f"debian:{spec.suite} docker.io {packages.get('docker.io', '?')}"
    else:
        source = f"dir:{archive.folder}" if spec.archive is None else f"archive:{version}"
        digest.update(archive.digest.encode())
    # dockerd and the docker CLI introduce themselves alike, in this order
    cli = [line for line in versions.splitlines() if line.startswith("Docker version")][1:]
    return EngineFacts(
        name=spec.name,
        version=version,
        source=source,
        digest=digest.hexdigest(),
        dockerd="/usr/sbin/dockerd" if archive is None else "/usr/local/bin/dockerd",
        path=_PATH,
        cgroups="v1" if release_key(version) < release_key("20.10.0") else "v2",
        containerd=_version_of("containerd", versions) or "unknown",
        cli=(release_in(cli[0]) if cli else None) or "none",
    )


def _version_of(program: str, versions: str) -> str | None:
    """The release on the first line that begins with ``program``."""
    lines = [line for line in versions.splitlines() if line.startswith(program)]
    return release_in(lines[0]) if lines else None


_Facts = TypeVar("_Facts", bound=EngineFacts)


def _as_asked(spec: EngineSpec, found: _Facts) -> _Facts:
    """``found`` under the name it was asked for by; refused when it is another release."""
    if spec.expected is not None and not same_release(found.version, spec.expected):
        if spec.suite is None:
            raise EngineError(
                f"the archive of {spec.expected} holds a dockerd that says it is {found.version}",
                hint="look at where it came from; dir:PATH takes any binaries as they are",
            )
        raise EngineError(
            f"{spec.name} was asked for, but Debian {spec.suite} now serves {found.version}",
            hint="ask for an alias (`stable`, `oldest`, `newest`) to take what the suite serves, "
            "or for dir:PATH with the binaries of the release you mean",
        )
    return replace(found, name=spec.name)


def _found(cache: Cache, kind: str, key: str) -> Entry:
    entry = cache.find(kind, key)
    if entry is None:
        raise EngineError(f"cache entry {kind}/{key} was removed while it was being used")
    return entry


def as_json(facts: EngineFacts) -> bytes:
    """Return the content of a root's :data:`ENGINE_FILE`."""
    return msgspec.json.format(msgspec.json.encode(facts)) + b"\n"


def copy_tree(source: Path, target: Path) -> None:
    """Copy with owners, devices and links, sharing blocks where the file system can."""
    done = subprocess.run(
        ["cp", "--archive", "--reflink=auto", source, target],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"copying {source} failed: {done.stderr.strip()[-300:]}")


def _tar_text(tar: Path, name: str) -> str:
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            if member.name.removeprefix("./") == name:
                file = archive.extractfile(member)
                if file is not None:
                    return file.read().decode()
    raise EngineError(f"{tar} has no {name}")


def append_file(tar: Path, name: str, data: bytes) -> None:
    """Append a file to an uncompressed tar, owner root, mode 0644, always with the same time."""
    with tarfile.open(tar, "a") as archive:
        member = tarfile.TarInfo(f"./{name}")
        member.size = len(data)
        member.mode = 0o644
        member.mtime = SOURCE_DATE_EPOCH
        archive.addfile(member, io.BytesIO(data))
