"""Debian's cloud kernels, as files: for the guest of the microVM lab.

    kernel = debian_kernel("trixie", Cache())        # any user; no root, nothing is installed
    kernel.vmlinuz                                    # bzImage for QEMU's -kernel
    kernel.modules / "kernel/net/sched/sch_netem.ko.xz"

``linux-image-cloud-amd64`` of a suite (bookworm: 6.1, trixie: 6.12) is unpacked, not installed;
the host's dpkg and /boot are not touched. ``modules.dep`` is made by depmod on this machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError, MissingError
from harness.images.cache import Cache, Say, silent
from harness.images.debian import DebianRecipe, extracted_tar

KIND = "kernel"
_PACKAGE = "linux-image-cloud-amd64"
_REVISION = 1
_NEED = 500 << 20  # bytes: packages, their tar, what is kept


@dataclass(frozen=True)
class DebianKernel:
    """A kernel and its modules in the cache."""

    version: str
    """As ``uname -r`` gives it: ``6.12.57+deb13-cloud-amd64``."""
    suite: str
    """The Debian suite it came from."""
    vmlinuz: Path
    """The kernel, a bzImage."""
    config: Path
    """What it was configured with."""
    modules: Path
    """What is to become ``/lib/modules/<version>`` in the guest, ``modules.dep`` included."""


def debian_kernel(suite: str, cache: Cache, *, say: Say = silent) -> DebianKernel:
    """Return the cloud kernel of Debian ``suite``, fetched and verified by apt, cached.

    Needs mmdebstrap and kmod, no root and no user namespace; about 30 MB from the mirror.
    Errors as in :mod:`harness.images.debian`.
    """
    note: dict[str, object] = {}

    def recipe(work: Path) -> None:
        say(f"fetching the kernel of Debian {suite} (once)")
        tar = work / "packages.tar"
        note.update(extracted_tar(DebianRecipe(suite, (_PACKAGE,)), tar, say=say).note())
        version = _unpack(tar, work)
        tar.unlink()
        _depmod(work, version)
        note["version"] = version

    key = f"{suite}-cloud-amd64-r{_REVISION}"
    folder = cache.build(KIND, key, recipe, lambda _: note, need=_NEED)
    versions = [path.name for path in (folder / "lib/modules").iterdir()]
    return DebianKernel(
        version=versions[0],
        suite=suite,
        vmlinuz=folder / "vmlinuz",
        config=folder / "config",
        modules=folder / "lib/modules" / versions[0],
    )


def _unpack(tar: Path, target: Path) -> str:
    """Take the kernel's own files out of the packages' tar; its version."""
    found: str | None = None
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix("usr/")
            boot = re.fullmatch(r"boot/(vmlinuz|config)-(.+)", name)
            if boot and member.isfile():
                _write(archive, member, target / boot[1])
                found = boot[2] if boot[1] == "vmlinuz" else found
            elif name.startswith("lib/modules/") and member.isfile():
                _write(archive, member, target / name)
    if found is None or not (target / "lib/modules" / found).is_dir():
        raise ImageError(f"{_PACKAGE} does not contain a kernel, or no modules for it")
    return found


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    if source is None:
        raise ImageError(f"{member.name} in the kernel's package is not a file")
    with source, target.open("wb") as out:
        shutil.copyfileobj(source, out)


def _depmod(base: Path, version: str) -> None:
    program = shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise MissingError("depmod is not installed", hint="apt-get install kmod")
    done = subprocess.run(
        [program, "--basedir", base, version], capture_output=True, text=True, check=False
    )
    if done.returncode or not (base / "lib/modules" / version / "modules.dep").is_file():
        raise ImageError(f"depmod failed for {version}: {done.stderr.strip()[-300:]}")
