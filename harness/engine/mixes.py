"""Engines with a component of another engine: which of dockerd, containerd and runc is to blame.

``28.5.2+containerd=26.1.5`` is the root of 28.5.2 in which the files of 26.1.5's containerd lie in
/usr/local/bin, ahead of its own. What a file needs of its own root (Debian's are linked to shared
libraries) must be in the other, too: where root can try it, it is tried before it is kept.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.engine import roots
from harness.engine.catalogue import Component, EngineSpec
from harness.engine.roots import TAR_KIND, TREE_KIND, Engine, EngineFacts
from harness.engine.versions import release_key
from harness.errors import EngineError
from harness.images import Cache, Entry, Say, silent

_REVISION = 1
_PLACES = ("usr/local/bin", "usr/sbin", "usr/bin")  # in the order of a daemon's PATH
_FILES: dict[Component, tuple[str, ...]] = {
    "containerd": (
        *("containerd", "containerd-shim", "containerd-shim-runc-v1", "containerd-shim-runc-v2"),
        "ctr",
    ),
    "runc": ("runc",),
}
_ONE_NAME = "18.09.0"
"""The first release whose files have these names; before it they were ``docker-containerd`` and so
on, and dockerd looks for its own."""
_NEED = 900 << 20  # bytes
_RUN_WITHIN = 30.0  # seconds for `--version`

_Parts = Sequence[tuple[Component, EngineFacts]]


def provide(spec: EngineSpec, cache: Cache, *, say: Say = silent) -> Engine:
    """Return the mix as an unpacked root file system; called by :func:`roots.provide`."""
    rest = roots.provide(replace(spec, parts=()), cache, say=say)
    parts = [(part, roots.provide(other, cache, say=say)) for part, other in spec.parts]
    facts = _facts(spec, rest, parts)

    def recipe(work: Path) -> None:
        rootfs = work / "rootfs"
        roots.copy_tree(rest.rootfs, rootfs)
        target = rootfs / _PLACES[0]
        target.mkdir(parents=True, exist_ok=True)
        for part, other in parts:
            for name in _FILES[part]:
                if (file := _file_in(other.rootfs, name)) is not None:
                    shutil.copyfile(file, target / name)
                    (target / name).chmod(0o755)
            _must_run(rootfs, part, other)
        (rootfs / roots.ENGINE_FILE).write_bytes(roots.as_json(facts))

    note = {"engine": facts}
    folder = cache.build(TREE_KIND, _key(facts), recipe, note, need=_NEED)
    return replace(roots.engine_at(folder / "rootfs"), name=spec.name)


def provide_tar(spec: EngineSpec, cache: Cache, *, say: Say = silent) -> Path:
    """Return the mix's root as an uncompressed tar; called by :func:`roots.provide_tar`."""
    plain = roots.provide_tar(replace(spec, parts=()), cache, say=say)
    tars = [roots.provide_tar(other, cache, say=say) for _, other in spec.parts]
    facts = provide_facts(spec, cache, say=say)

    def recipe(work: Path) -> None:
        tar = work / "rootfs.tar"
        shutil.copyfile(plain, tar)
        with tarfile.open(tar, "a") as archive:
            for (part, _), other in zip(spec.parts, tars, strict=True):
                _copy_members(other, _FILES[part], archive)
        roots.append_file(tar, roots.ENGINE_FILE, roots.as_json(facts))

    folder = cache.build(TAR_KIND, _key(facts), recipe, {"engine": facts}, need=_NEED)
    return folder / "rootfs.tar"


def provide_facts(spec: EngineSpec, cache: Cache, *, say: Say = silent) -> EngineFacts:
    """Return what the mix is; called by :func:`roots.provide_facts`."""
    rest = roots.provide_facts(replace(spec, parts=()), cache, say=say)
    parts = [(part, roots.provide_facts(other, cache, say=say)) for part, other in spec.parts]
    return _facts(spec, rest, parts)


def cached(spec: EngineSpec, cache: Cache) -> list[Entry]:
    """Return the forms of the mix that the cache holds; called by :func:`roots.cached`."""
    held = [
        roots.cached(each, cache)
        for each in (replace(spec, parts=()), *(other for _, other in spec.parts))
    ]
    if not all(held):
        return []
    key = _key(provide_facts(spec, cache))
    found = (cache.find(kind, key) for kind in (TREE_KIND, TAR_KIND))
    return [entry for entry in found if entry is not None]


def _facts(spec: EngineSpec, rest: EngineFacts, parts: _Parts) -> EngineFacts:
    """What the mix is. Its version names the parts: no comparison takes it for the plain one."""
    for engine in (rest, *(other for _, other in parts)):
        if release_key(engine.version) < release_key(_ONE_NAME):
            raise EngineError(
                f"engine {spec.name} mixes {engine.version}, whose files have other names",
                hint=f"mix releases from {_ONE_NAME} on",
            )
    digest = hashlib.sha256(f"r{_REVISION} {rest.digest}\n".encode())
    for part, other in parts:
        digest.update(f"{part} {other.digest}\n".encode())
    containerd = dict(parts).get("containerd")
    return EngineFacts(
        name=spec.name,
        version="+".join((rest.version, *(f"{part}-{other.version}" for part, other in parts))),
        source=", ".join((rest.source, *(f"{part} of {other.source}" for part, other in parts))),
        digest=digest.hexdigest(),
        dockerd=rest.dockerd,
        path=rest.path,
        cgroups=rest.cgroups,
        containerd=rest.containerd if containerd is None else containerd.containerd,
        cli=rest.cli,
    )


def _key(facts: EngineFacts) -> str:
    return f"mix-{facts.digest[:16]}"


def _file_in(rootfs: Path, name: str) -> Path | None:
    found = (rootfs / place / name for place in _PLACES)
    return next((path for path in found if path.is_file()), None)


def _must_run(rootfs: Path, part: Component, other: EngineFacts) -> None:
    """:class:`EngineError` in the loader's words unless the file runs in its new root."""
    done = subprocess.run(
        ["chroot", rootfs, f"/{_PLACES[0]}/{_FILES[part][0]}", "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_RUN_WITHIN,
        check=False,
    )
    if done.returncode:
        raise EngineError(
            f"the {part} of {other.version} ({other.source}) does not run in that root: "
            f"{(done.stderr or done.stdout).strip()[:300]}",
            hint="Debian's need libraries of their release; those of Docker's archives need less: "
            f"+{part}=archive:{other.version.partition('+')[0]}",
        )


def _copy_members(source: Path, names: Sequence[str], target: tarfile.TarFile) -> None:
    """Append those files of a root's tar to another, for /usr/local/bin."""
    with tarfile.open(source, "r:") as archive:
        found = {
            member.name.removeprefix("./"): member for member in archive if member.isreg()
        }  # the last of a name is what unpacking leaves
        for name in names:
            held = [found[path] for place in _PLACES if (path := f"{place}/{name}") in found]
            if held:
                member = archive.extractfile(held[0])
                held[0].name = f"./{_PLACES[0]}/{name}"
                target.addfile(held[0], member)
