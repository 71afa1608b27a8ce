"""QEMU's main loop and its virtual CPU, taking turns: what virtual time rests on.

``lockstep.c``, beside this file, says why and how. It is compiled once, preloaded into QEMU, and
counts into a page that can be read while QEMU runs and afterwards.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from harness.images import Cache, Say, silent
from harness.images.compiler import compile_library, debian_compiler
from harness.vm import content_hash
from harness.vm.machine import Clock, Machine
from harness.vm.qemu_binary import Qemu

SOURCE = Path(__file__).with_name("lockstep.c")
KIND = "turns"
_VARIABLE = "SWARM_CHAOS_TURNS"
_LIBRARY = "turns.so"
_PAGE = struct.Struct("<3q")


@dataclass(frozen=True)
class LockstepCounters:
    """What QEMU's turns came to so far."""

    known: bool
    """Whether the virtual CPU was found, that is: whether they take turns at all."""
    turns: int
    """How often the main loop had its turn."""
    out_of_step: int
    """How often it went while the virtual CPU was at work, which may be another history."""


def source_digest() -> str:
    """sha256 of the source: part of a snapshot's key."""
    return content_hash.of_bytes(SOURCE.read_bytes())


def provide_lockstep(cache: Cache, *, say: Say = silent) -> Path:
    """The library to preload; compiled now if it is not there. Errors as in its two sources,
    :mod:`harness.images.compiler` and :mod:`harness.images.debian`."""
    digest = source_digest()

    def recipe(folder: Path) -> None:
        compile_library(debian_compiler(cache, say=say), SOURCE, folder / _LIBRARY)

    return cache.build(KIND, digest[:24], recipe, {"source": digest}) / _LIBRARY


def lockstep_for(
    machine: Machine, cache: Cache, folder: Path, *, say: Say = silent
) -> Lockstep | None:
    """The turns of a machine in virtual time, counted in ``folder``; None in real time."""
    if machine.clock is not Clock.VIRTUAL:
        return None
    return Lockstep(provide_lockstep(cache, say=say), folder)


class Lockstep:
    """The turns of one QEMU, counted in ``folder``, which is this one's own."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._page = folder / "turns"
        self._page.write_bytes(bytes(_PAGE.size))
        # Loaders part names at spaces and colons, and there is no way to quote: a cache may well
        # lie under such a name, a scratch folder does not.
        self._library = folder / _LIBRARY
        self._library.symlink_to(library)

    def command(self, qemu: Qemu) -> tuple[str, ...]:
        """The words that start a QEMU which keeps them; switches follow."""
        return ("env", f"{_VARIABLE}={self._page}", *qemu.preloading(self._library))

    def counted(self) -> LockstepCounters:
        """What there is to tell by now."""
        known, turns, out_of_step = _PAGE.unpack(self._page.read_bytes())
        return LockstepCounters(bool(known), turns, out_of_step)
