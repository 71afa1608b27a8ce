"""Debian's QEMU, as files: what the guests of the microVM lab run under.

    qemu = debian_qemu(Cache())            # any user; no root, nothing is installed
    [*qemu.command, "-machine", ...]       # the words that start it
    qemu.version                           # "10.0.13 Debian 1:10.0.13+ds-0+deb13u1"

What a guest does is a matter of its QEMU too, so every machine takes the same one and not what its
distribution happens to have. ``qemu-system-x86`` is unpacked, not installed, and of it only what
runs a guest is kept: the program, the libraries it is linked with (its loader tells which, and
starts it with these and none of the host's), and the firmware of the one machine there is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError, MissingError
from harness.images.cache import Cache, Entry, Say, silent
from harness.images.debian import DebianRecipe, extracted_tar

KIND = "qemu"
SUITE = "trixie"
PROGRAM = "qemu-system-x86_64"
FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin")
"""What the machine ``pc`` loads to start a kernel; other ROMs belong to cards it has not."""

_PACKAGES = ("qemu-system-x86", "seabios")
_ARCHITECTURE = "x86_64"
_LOADER = "ld-linux-x86-64.so.2"
_REVISION = 1
_KEY = f"{SUITE}-amd64-r{_REVISION}"
_NEED = 400 << 20  # bytes: packages, their tar, what is kept
_LIBRARY = re.compile(r"lib/x86_64-linux-gnu/([^/]+\.so[^/]*)")
_NEEDED = re.compile(r"^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)


@dataclass(frozen=True)
class DebianQemu:
    """A QEMU in the cache."""

    version: str
    """As it says it itself, the package's revision included."""
    folder: Path
    """Its program, libraries and firmware."""

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start it; switches follow.

        The kernel sees the loader run, so QEMU is told to put its own name on its threads.
        """
        libraries = self.folder / "lib"
        return (
            str(libraries / _LOADER),
            *("--argv0", PROGRAM),
            *("--library-path", str(libraries)),
            str(self.folder / "bin" / PROGRAM),
            *("-name", f"process={PROGRAM}"),
            *("-L", str(self.folder / "firmware")),
        )


def debian_qemu(cache: Cache, *, say: Say = silent) -> DebianQemu:
    """The QEMU of Debian's suite :data:`SUITE`, fetched and verified by apt, cached.

    Needs mmdebstrap and an x86-64 machine, no root and no user namespace; about 40 MB from the
    mirror. Errors as in :mod:`harness.images.debian`.
    """
    if not debian_qemu_fits():
        raise MissingError(
            f"the QEMU that is fetched is for x86-64 machines, this one is {os.uname().machine}",
            hint="have a QEMU of your own, and name it by SWARM_CHAOS_QEMU",
        )
    note: dict[str, object] = {}

    def recipe(work: Path) -> None:
        say(f"fetching QEMU from Debian {SUITE} (once)")
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=work) as scratch:
            unpacked = Path(scratch)
            tar = unpacked / "packages.tar"
            note.update(extracted_tar(DebianRecipe(SUITE, _PACKAGES), tar, say=say).note())
            _unpack(tar, unpacked)
            _keep(unpacked, work)
        note["version"] = version_told(DebianQemu("", work).command)

    cache.build(KIND, _KEY, recipe, lambda _: note, need=_NEED)
    found = _found(cache.find(KIND, _KEY))
    if found is None:
        raise ImageError(f"{KIND}/{_KEY} left the cache {cache.root} while it was asked for")
    return found


def cached_qemu(cache: Cache) -> DebianQemu | None:
    """What :func:`debian_qemu` would find without fetching anything."""
    entry = cache.find(KIND, _KEY)
    return _found(entry) if entry is not None and not entry.damage(contents=False) else None


def debian_qemu_fits() -> bool:
    """Whether Debian's QEMU is for this kind of machine."""
    return os.uname().machine == _ARCHITECTURE


def version_told(command: Sequence[str]) -> str:
    """The version of the QEMU that ``command`` starts, package revision included.

    :class:`ImageError` with what it says instead.
    """
    try:
        done = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{command[0]} does not run: {error}") from error
    return parse_version(done.stdout)


def parse_version(text: str) -> str:
    """The version in the answer to ``--version``; :class:`ImageError` if there is none."""
    found = re.search(r"QEMU emulator version (\S+)(?: \(([^)]*)\))?", text)
    if found is None:
        raise ImageError(f"QEMU does not say its version but: {text.strip()[:200]!r}")
    return f"{found[1]} {found[2]}" if found[2] else found[1]


def _found(entry: Entry | None) -> DebianQemu | None:
    return DebianQemu(str(entry.manifest.note["version"]), entry.path) if entry else None


def _unpack(tar: Path, target: Path) -> None:
    """Take the program, its firmware and all libraries out of the packages' tar."""
    for name in ("bin", "lib", "firmware"):
        (target / name).mkdir()
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix("usr/")
            library = _LIBRARY.fullmatch(name)
            if name == f"bin/{PROGRAM}":
                _write(archive, member, target / name)
            elif library and member.issym() and "/" not in member.linkname:
                (target / "lib" / library[1]).symlink_to(member.linkname)
            elif library and member.isfile():
                _write(archive, member, target / "lib" / library[1])
            elif name.rpartition("/")[0] in ("share/qemu", "share/seabios"):
                rom = name.rpartition("/")[2]
                if rom in FIRMWARE and member.isfile():
                    _write(archive, member, target / "firmware" / rom)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise ImageError(f"{member.name} in QEMU's packages is not a file")
    with source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    target.chmod(member.mode & 0o755)


def _keep(unpacked: Path, target: Path) -> None:
    """Put what is needed of ``unpacked`` into ``target``, libraries by the name asked for."""
    for name in (f"bin/{PROGRAM}", f"lib/{_LOADER}", *(f"firmware/{rom}" for rom in FIRMWARE)):
        if not (unpacked / name).is_file():
            raise ImageError(f"{' and '.join(_PACKAGES)} of {SUITE} brought no {Path(name).name}")
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copy(unpacked / name, target / name)
    for library in _needed(unpacked):
        shutil.copy(unpacked / "lib" / library, target / "lib" / library)


def _needed(unpacked: Path) -> list[str]:
    """The libraries that the loader would load, by name; all have to come from the packages."""
    libraries = unpacked / "lib"
    loader = [str(libraries / _LOADER), "--inhibit-cache", "--library-path", str(libraries)]
    done = subprocess.run(
        [*loader, "--list", str(unpacked / "bin" / PROGRAM)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ImageError(f"QEMU's libraries cannot be told: {done.stderr.strip()[-300:]}")
    found = []
    for asked, where in _NEEDED.findall(done.stdout):
        if Path(where).parent != libraries:
            raise ImageError(f"QEMU needs {Path(asked).name}, which its packages do not bring")
        if Path(where).name != _LOADER:
            found.append(Path(where).name)
    return found
