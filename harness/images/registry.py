"""Debian's docker-registry, with what it takes to run it anywhere: no installation, no root.

    program = registry_program(Cache())
    subprocess.run([*program.command, "serve", "config.yml"])

The package is unpacked, not installed. Its binary is linked with libc, so it comes with the libc
and the loader of its own suite and does not care about this machine's.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError
from harness.images.cache import Cache, Say, silent
from harness.images.debian import DebianRecipe, extracted_tar, installed_packages

KIND = "registry"

_SUITE = "trixie"
_PACKAGE = "docker-registry"
_REVISION = 1
_NEED = 120 << 20  # bytes: packages, their tar, what is kept

_BINARY = "docker-registry"
_LOADER = "ld-linux-x86-64.so.2"
_LIBC = "libc.so.6"
_KEPT = {
    f"usr/bin/{_BINARY}": _BINARY,
    f"usr/lib/x86_64-linux-gnu/{_LOADER}": _LOADER,
    f"usr/lib/x86_64-linux-gnu/{_LIBC}": _LIBC,
}
_STATUS = "var/lib/dpkg/status"


@dataclass(frozen=True)
class RegistryProgram:
    """docker-registry in a folder of its own."""

    folder: Path

    @property
    def files(self) -> dict[str, Path]:
        """All it is made of: file name -> path."""
        return {name: self.folder / name for name in (_BINARY, _LOADER, _LIBC)}

    @property
    def command(self) -> list[str]:
        """The command line to which its own arguments are added."""
        files = self.files
        return [str(files[_LOADER]), "--library-path", str(self.folder), str(files[_BINARY])]

    @property
    def complete(self) -> bool:
        """Whether all files are there."""
        return all(path.is_file() for path in self.files.values())


def registry_program(cache: Cache, *, say: Say = silent) -> RegistryProgram:
    """docker-registry of Debian, fetched and verified by apt, cached.

    Needs mmdebstrap, no root and no user namespace; about 9 MB from the mirror. Errors as in
    :mod:`harness.images.debian`.
    """
    note: dict[str, object] = {}

    def recipe(work: Path) -> None:
        say(f"fetching the registry of Debian {_SUITE} (once)")
        tar = work / "packages.tar"
        note.update(extracted_tar(DebianRecipe(_SUITE, (_PACKAGE,)), tar, say=say).note())
        note["version"] = _unpack(tar, work)
        tar.unlink()

    return RegistryProgram(
        cache.build(KIND, f"{_SUITE}-r{_REVISION}", recipe, lambda _: note, need=_NEED)
    )


def _unpack(tar: Path, target: Path) -> str:
    """Take the program and its libraries out of the packages' tar; the package's version."""
    version = "unknown"
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isfile() or (name not in _KEPT and name != _STATUS):
                continue
            source = archive.extractfile(member)
            data = source.read() if source is not None else b""
            if name == _STATUS:
                version = installed_packages(data.decode()).get(_PACKAGE, version)
                continue
            kept = target / _KEPT[name]
            kept.write_bytes(data)
            kept.chmod(0o755)
    if not RegistryProgram(target).complete:
        raise ImageError(f"Debian {_SUITE}'s packages did not contain all of {_PACKAGE}")
    return version
