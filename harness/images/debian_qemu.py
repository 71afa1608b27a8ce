"""Debian's QEMU, as files: what the guests of the microVM lab run under.

    qemu = debian_qemu(Cache())            # any user; no root, nothing is installed
    [*qemu.command, "-machine", ...]       # the arguments that start it
    qemu.version                           # "10.0.13 Debian 1:10.0.13+ds-0+deb13u1"

What a guest does is a matter of its QEMU too, so every machine takes the same one and not what its
distribution happens to have (:mod:`harness.images.portable_program`). Of ``qemu-system-x86`` only
what runs a guest is kept: the program, its libraries, and the firmware of the one machine there is.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError, MissingError
from harness.images.cache import Cache, Entry, Say, silent
from harness.images.portable_program import ProgramRecipe, fits, loader, machine_here, take

KIND = "qemu"
SUITE = "trixie"
PROGRAM = "qemu-system-x86_64"
FIRMWARE = {
    "bios-256k.bin": "seabios",
    "kvmvapic.bin": "qemu",
    "linuxboot_dma.bin": "qemu",
}
"""What the machine ``pc`` loads to start a kernel, and where from; other ROMs belong to cards it
has not."""

_RECIPE = ProgramRecipe(
    SUITE,
    ("qemu-system-x86", "seabios"),
    PROGRAM,
    {f"share/{folder}/{rom}": f"firmware/{rom}" for rom, folder in FIRMWARE.items()},
)
_REVISION = 1
_KEY = f"{SUITE}-amd64-r{_REVISION}"
_NEED = 400 << 20  # bytes: packages, their tar, what is kept


@dataclass(frozen=True)
class DebianQemu:
    """A QEMU in the cache."""

    version: str
    """As QEMU reports it, including the package's revision."""
    folder: Path
    """Its program, libraries and firmware."""

    @property
    def loader(self) -> tuple[str, ...]:
        """The arguments of :attr:`command` that are its loader's; more of these may follow them."""
        return loader(self.folder, PROGRAM)

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments that start it; switches follow.

        The kernel sees the loader run, so QEMU is asked to name its threads.
        """
        return (
            *self.loader,
            str(self.folder / "bin" / PROGRAM),
            *("-name", f"process={PROGRAM}"),
            *("-L", str(self.folder / "firmware")),
        )


def debian_qemu(cache: Cache, *, say: Say = silent) -> DebianQemu:
    """Return the QEMU of Debian's suite :data:`SUITE`, fetched and verified by apt, cached.

    Needs mmdebstrap and an x86-64 machine, no root and no user namespace; about 40 MB from the
    mirror. Errors as in :mod:`harness.images.debian`.
    """
    if not debian_qemu_fits():
        raise MissingError(
            f"the QEMU that is fetched is for x86-64 machines, this one is {machine_here()}",
            hint="name a QEMU of your own with SWARM_CHAOS_QEMU",
        )
    note: dict[str, object] = {}

    def recipe(folder: Path) -> None:
        say(f"fetching QEMU from Debian {SUITE} (once)")
        note.update(take(_RECIPE, folder, say=say).note())
        note["version"] = reported_version(DebianQemu("", folder).command)

    cache.build(KIND, _KEY, recipe, lambda _: note, need=_NEED)
    found = _found(cache.find(KIND, _KEY))
    if found is None:
        raise ImageError(
            f"{KIND}/{_KEY} was removed from the cache {cache.root} while it was being read"
        )
    return found


def cached_qemu(cache: Cache) -> DebianQemu | None:
    """Return what :func:`debian_qemu` would find without fetching anything."""
    entry = cache.find(KIND, _KEY)
    return _found(entry) if entry is not None and not entry.damage(contents=False) else None


def debian_qemu_fits() -> bool:
    """Return whether Debian's QEMU is for this kind of machine."""
    return fits()


def reported_version(command: Sequence[str]) -> str:
    """Return the version of the QEMU that ``command`` starts, package revision included.

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
    """Return the version in the answer to ``--version``; :class:`ImageError` if there is none."""
    found = re.search(r"QEMU emulator version (\S+)(?: \(([^)]*)\))?", text)
    if found is None:
        raise ImageError(f"QEMU does not say its version but: {text.strip()[:200]!r}")
    return f"{found[1]} {found[2]}" if found[2] else found[1]


def _found(entry: Entry | None) -> DebianQemu | None:
    return DebianQemu(str(entry.manifest.note["version"]), entry.path) if entry else None
