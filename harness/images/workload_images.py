"""The images that scenarios deploy, made without a registry from Debian packages.

One base layer (nginx, Python, libc with its name service; no shell, no package manager, no
maintainer script has run) and a layer of a few kilobytes per image on top. The programs are
those of :mod:`harness.images.workload_programs`, byte-compiled, since a slow guest compiles
them slowly.

================================  =====  ==========================================
tag                               port   what it is
================================  =====  ==========================================
``swarm-chaos/balancer:1``        8080   nginx in front of the service ``UPSTREAM``
``swarm-chaos/app:1``             8000   answers which task it is, can be slow or fail
``swarm-chaos/logwriter:1``       8001   numbered log lines, measures stalls
``swarm-chaos/resolver:1``        8002   resolves names, by libc and by DNS
================================  =====  ==========================================
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harness.errors import ImageError
from harness.images.cache import Cache, Say, silent
from harness.images.debian import DebianRecipe, extracted_tar
from harness.images.docker_archive import (
    ImageRecipe,
    LayerFile,
    read_layer,
    write_archive,
    write_layer,
)

ARCHIVE_KIND = "workload"
BASE_KIND = "workload-base"

_SUITE = "trixie"
_REVISION = 2
"""Part of the cache keys: raise it when the recipe below changes."""
_NEED = 400 << 20  # bytes: packages, their tar, the layer
_PACKAGES = ("nginx", "python3-minimal", "libpython3-stdlib", "base-files")
_PYTHON = "usr/bin/python3"
_HOME = "srv"

_BINARIES = ("usr/sbin/nginx", "etc/nginx/mime.types", _PYTHON)
_LIBRARIES = (
    *("ld-linux-x86-64.so.", "libc.so.", "libm.so.", "libresolv.so.", "libgcc_s.so."),
    *("libnss_files.so.", "libnss_dns.so.", "libcrypt.so.", "libpcre2-8.so."),
    *("libssl.so.", "libcrypto.so.", "libz.so.", "libzstd.so.", "libexpat.so."),
)
_STDLIB_FOLDERS = ("collections", "encodings", "importlib", "json", "re")
_STDLIB_LEFT_OUT = {"pydoc", "turtle", "doctest", "pdb", "mailbox", "tarfile", "optparse"}

_ETC = (
    LayerFile("etc/passwd", b"root:x:0:0:root:/root:/sbin/nologin\n"),
    LayerFile("etc/group", b"root:x:0:\n"),
    LayerFile("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n"),
)


@dataclass(frozen=True)
class _Workload:
    name: str
    port: int
    files: tuple[str, ...]
    """Besides ``<name>.py``, ``httpd.py`` and the package's ``__init__.py``."""
    stop_signal: str = "SIGTERM"


_WORKLOADS = (
    _Workload("balancer", 8080, ("balancer.conf",), stop_signal="SIGQUIT"),
    _Workload("app", 8000, ()),
    _Workload("logwriter", 8001, ()),
    _Workload("resolver", 8002, ()),
)

WORKLOAD_TAGS = {each.name: f"swarm-chaos/{each.name}:1" for each in _WORKLOADS}
"""Name of a workload -> the tag it is loaded under."""


def workload_archive(cache: Cache, *, say: Say = silent) -> Path:
    """Return all workload images as one docker-archive tar, for ``docker load``.

    Any user can build it (mmdebstrap; no root, no user namespace, no Docker). Two builds from the
    same packages are equal to the byte. Errors as in :mod:`harness.images.debian`.
    """
    sources = _sources()
    digest = hashlib.sha256(repr((_REVISION, _WORKLOADS)).encode())
    for name in sorted(sources):
        digest.update(f"{name}\0".encode() + sources[name])

    def recipe(work: Path) -> None:
        base = _base(cache, say)
        say("packing the workload images")
        with tempfile.TemporaryDirectory() as scratch:
            compiled = _compiled(base / "layer.tar", sources, Path(scratch))
            layers = {each: Path(scratch) / f"{each.name}.tar" for each in _WORKLOADS}
            for workload, layer in layers.items():
                write_layer(layer, _programs(workload, compiled))
            images = (
                ImageRecipe(
                    WORKLOAD_TAGS[each.name], (base / "layer.tar", layers[each]), _config(each)
                )
                for each in _WORKLOADS
            )
            write_archive(work / "images.tar", images)

    key = f"r{_REVISION}-{digest.hexdigest()[:16]}"
    note = {"tags": list(WORKLOAD_TAGS.values()), "base": f"{_SUITE}-r{_REVISION}"}
    return cache.build(ARCHIVE_KIND, key, recipe, note, need=_NEED // 4) / "images.tar"


def _base(cache: Cache, say: Say) -> Path:
    note: dict[str, object] = {}

    def recipe(work: Path) -> None:
        say("building the base of the workload images (once)")
        tar = work / "packages.tar"
        note.update(extracted_tar(DebianRecipe(_SUITE, _PACKAGES), tar, say=say).note())
        files = _kept(tar)
        tar.unlink()
        with tempfile.TemporaryDirectory() as scratch:
            compiled = _compile(files, Path(scratch), ("usr/lib",))
        write_layer(work / "layer.tar", compiled)

    return cache.build(BASE_KIND, f"{_SUITE}-r{_REVISION}", recipe, lambda _: note, need=_NEED)


def _kept(packages: Path) -> list[LayerFile]:
    """What of the unpacked packages the workloads need, and the folders that lead there."""
    kept = list(_ETC)
    with tarfile.open(packages, "r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not _is_needed(name, member):
                continue
            if member.issym():
                kept.append(LayerFile(name, link=member.linkname))
            else:
                source = archive.extractfile(member)
                if source is None:
                    raise ImageError(f"{name} in the packages is not a file")
                kept.append(LayerFile(name, source.read(), mode=member.mode & 0o755))
    names = {each.name for each in kept}
    missing = [name for name in _BINARIES if name not in names]
    if missing:
        raise ImageError(f"Debian {_SUITE}'s packages do not contain {', '.join(missing)}")
    return [*kept, *_folders(names)]


def _is_needed(name: str, member: tarfile.TarInfo) -> bool:
    if name in ("bin", "lib", "lib64", "sbin") or name in _BINARIES:
        return member.issym() or member.isfile()
    if not (member.isfile() or member.issym()):
        return False
    folder, _, file = name.rpartition("/")
    if folder in ("usr/lib/x86_64-linux-gnu", "usr/lib64"):
        return file.startswith(_LIBRARIES)
    if folder == "usr/bin":
        return file.startswith("python3.") and "-" not in file
    if not name.startswith("usr/lib/python3."):
        return False
    inner = name.split("/")[3:]
    if len(inner) == 1:
        # sitecustomize.py is a link into /etc
        wanted = member.isfile() and file.endswith(".py")
        return wanted and file.removesuffix(".py") not in _STDLIB_LEFT_OUT
    return inner[0] in _STDLIB_FOLDERS and file.endswith(".py")


def _folders(names: set[str]) -> list[LayerFile]:
    found = {
        str(parent) for name in names for parent in Path(name).parents if str(parent) != "."
    } - {"bin", "lib", "lib64", "sbin"}
    found |= {"dev", "proc", "sys", "run", "var", "var/log", "var/log/nginx", "root", _HOME}
    # empty, but without it Python says at each start that it misses it
    found |= {
        f"{name}/lib-dynload" for name in found if re.fullmatch(r"usr/lib/python3\.\d+", name)
    }
    plain = [LayerFile(name, mode=0o755) for name in sorted(found)]
    return [*plain, LayerFile("tmp", mode=0o1777)]


def _compile(files: list[LayerFile], scratch: Path, folders: tuple[str, ...]) -> list[LayerFile]:
    """``files`` and the byte code of the Python sources among them, below ``folders``.

    Compiled by the Python among ``files``, run through its own loader: no chroot, no root.
    Byte code is marked as needing no check, so it does not depend on the files' times.
    """
    for file in sorted(files, key=lambda each: each.name):
        path = scratch / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.link is not None:
            path.symlink_to(file.link)
        elif file.data is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(file.data)
            path.chmod(file.mode | 0o600)
    library = scratch / "usr/lib/x86_64-linux-gnu"
    done = subprocess.run(
        [
            *(f"{library}/ld-linux-x86-64.so.2", "--library-path", f"{library}"),
            *(f"{scratch}/{_PYTHON}", "-S", "-B", "-c", _COMPILE, f"{scratch}", *folders),
        ],
        env={"PYTHONHOME": str(scratch / "usr"), "PATH": "/nowhere", "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ImageError(f"compiling the workloads' Python failed: {done.stderr.strip()[-300:]}")
    known = {each.name for each in files}
    made = []
    for folder in folders:
        for path in (scratch / folder).rglob("__pycache__/*.pyc"):
            name = str(path.relative_to(scratch))
            made.append(LayerFile(name, path.read_bytes()))
            parent = str(Path(name).parent)
            if parent not in known:
                known.add(parent)
                made.append(LayerFile(parent, mode=0o755))
    return [*files, *made]


# py_compile alone: compileall wants concurrent.futures and the rest of a full library
_COMPILE = """
import os, sys, py_compile
root, folders = sys.argv[1], sys.argv[2:]
for folder in folders:
    for where, _, names in os.walk(os.path.join(root, folder)):
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(where, name)
                py_compile.compile(
                    path, dfile=path[len(root):], doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
"""


def _compiled(base: Path, sources: dict[str, bytes], scratch: Path) -> list[LayerFile]:
    """The programs below ``srv/workload``, with their byte code."""
    runtime = [each for each in read_layer(base) if each.name != f"{_HOME}/workload"]
    programs = [LayerFile(f"{_HOME}/workload/{name}", data) for name, data in sources.items()]
    together = _compile([*runtime, *programs], scratch / "runtime", (f"{_HOME}/workload",))
    inside = f"{_HOME}/workload/"
    found = [each for each in together if each.name.startswith(inside)]
    return [LayerFile(f"{_HOME}/workload", mode=0o755), *found]


def _programs(workload: _Workload, compiled: list[LayerFile]) -> list[LayerFile]:
    stems = {"__init__", "httpd", workload.name}
    return [
        each
        for each in compiled
        if each.data is None
        or (file := each.name.rpartition("/")[2]) in workload.files
        or (file.partition(".")[0] in stems and not file.endswith(".conf"))
    ]


def _sources() -> dict[str, bytes]:
    folder = resources.files("harness.images") / "workload_programs"
    return {
        each.name: each.read_bytes()
        for each in folder.iterdir()
        if each.name.endswith((".py", ".conf"))
    }


def _config(workload: _Workload) -> dict[str, object]:
    return {
        # -S -E: no site packages, no PYTHON* variables; -u: log lines leave at once
        "Entrypoint": [
            "/usr/bin/python3",
            "-S",
            "-E",
            "-u",
            "-B",
            "-m",
            f"workload.{workload.name}",
        ],
        "Env": ["PATH=/usr/sbin:/usr/bin"],
        "ExposedPorts": {f"{workload.port}/tcp": {}},
        "StopSignal": workload.stop_signal,
        "WorkingDir": f"/{_HOME}",
    }
