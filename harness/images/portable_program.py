"""A program out of Debian's packages, as files: run from the cache, whatever the host has.

It is unpacked and not installed. Kept are the program, its loader, the libraries that it is linked
with (the loader tells which, and starts it with these and none of the host's), and what else of the
packages the caller names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import ImageError
from harness.images.cache import Say
from harness.images.debian import DebianBuild, DebianRecipe, extracted_tar

ARCHITECTURE = "x86_64"
_LOADER = "ld-linux-x86-64.so.2"
_LIBRARY = re.compile(r"lib/x86_64-linux-gnu/([^/]+\.so[^/]*)")
_NEEDED = re.compile(r"^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)


@dataclass(frozen=True)
class ProgramRecipe:
    """What to take out of which packages."""

    suite: str
    packages: tuple[str, ...]
    program: str
    """Its name in ``/usr/bin``."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What else is kept: its new place, by its path in the packages below ``/usr``."""


def machine_here() -> str:
    """Return the kind of this machine, as the kernel names it."""
    return os.uname().machine


def fits() -> bool:
    """Return whether there are programs for this kind of machine."""
    return machine_here() == ARCHITECTURE


def take(recipe: ProgramRecipe, folder: Path, *, say: Say) -> DebianBuild:
    """Fetch the packages and put what is kept of them into ``folder``.

    Needs mmdebstrap, no root and no user namespace. :class:`ImageError` when the packages bring
    not all of it; else errors as in :mod:`harness.images.debian`.
    """
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as scratch:
        unpacked = Path(scratch)
        tar = unpacked / "packages.tar"
        build = extracted_tar(DebianRecipe(recipe.suite, recipe.packages), tar, say=say)
        _unpack(recipe, tar, unpacked)
        _keep(recipe, unpacked, folder)
    return build


def loader(folder: Path, program: str) -> tuple[str, ...]:
    """Return the arguments that have the loader in ``folder`` run a program; more may follow."""
    libraries = folder / "lib"
    return (
        str(libraries / _LOADER),
        *("--argv0", program),
        *("--library-path", str(libraries)),
    )


def _unpack(recipe: ProgramRecipe, tar: Path, target: Path) -> None:
    """Take the program, what else is wanted, and all libraries out of the packages' tar."""
    (target / "lib").mkdir()
    wanted = _places(recipe)
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix("usr/")
            library = _LIBRARY.fullmatch(name)
            if name in wanted and member.isfile():
                _write(archive, member, target / wanted[name])
            elif library and member.issym() and "/" not in member.linkname:
                (target / "lib" / library[1]).symlink_to(member.linkname)
            elif library and member.isfile():
                _write(archive, member, target / "lib" / library[1])


def _places(recipe: ProgramRecipe) -> dict[str, str]:
    return {f"bin/{recipe.program}": f"bin/{recipe.program}", **recipe.files}


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise ImageError(f"{member.name} in its package is not a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    target.chmod(member.mode & 0o755)


def _keep(recipe: ProgramRecipe, unpacked: Path, target: Path) -> None:
    """Put what is needed of ``unpacked`` into ``target``, libraries by the name asked for."""
    for name in (*_places(recipe).values(), f"lib/{_LOADER}"):
        if not (unpacked / name).is_file():
            packages = " and ".join(recipe.packages)
            raise ImageError(f"{packages} of {recipe.suite} brought no {Path(name).name}")
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copy(unpacked / name, target / name)
    for library in _needed(recipe, unpacked):
        shutil.copy(unpacked / "lib" / library, target / "lib" / library)


def _needed(recipe: ProgramRecipe, unpacked: Path) -> list[str]:
    """The libraries that the loader would load, by name; all have to come from the packages."""
    libraries = unpacked / "lib"
    arguments = [str(libraries / _LOADER), "--inhibit-cache", "--library-path", str(libraries)]
    done = subprocess.run(
        [*arguments, "--list", str(unpacked / "bin" / recipe.program)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ImageError(
            f"cannot find the libraries of {recipe.program}: {done.stderr.strip()[-300:]}"
        )
    found = []
    for asked, where in _NEEDED.findall(done.stdout):
        if Path(where).parent != libraries:
            raise ImageError(
                f"{recipe.program} needs {Path(asked).name}, which its packages do not contain"
            )
        if Path(where).name != _LOADER:
            found.append(Path(where).name)
    return found
