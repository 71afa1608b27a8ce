"""QEMU's main loop and its virtual CPU in lockstep: what virtual time rests on.

``lockstep.c``, beside this file, says why and how. It is compiled once, preloaded into QEMU, and
counts into a file that can be read while QEMU runs and afterwards.
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
KIND = "lockstep"
_VARIABLE = "SWARM_CHAOS_LOCKSTEP"
_LIBRARY = "lockstep.so"
_COUNTERS = struct.Struct("<3q")


@dataclass(frozen=True)
class LockstepCounters:
    """What has been counted of a QEMU so far."""

    known: bool
    """Whether the virtual CPU was found, that is: whether there is a lockstep at all."""
    turns: int
    """How often the main loop had its turn."""
    out_of_step: int
    """How often it went while the virtual CPU was at work, which may be another history."""


def source_digest() -> str:
    """Return the source's sha256: part of a snapshot's key."""
    return content_hash.of_bytes(SOURCE.read_bytes())


def provide_lockstep(cache: Cache, *, say: Say = silent) -> Path:
    """Return the library to preload; compiled now if it is not there. Errors as in its two sources,
    :mod:`harness.images.compiler` and :mod:`harness.images.debian`."""
    digest = source_digest()

    def recipe(folder: Path) -> None:
        compile_library(debian_compiler(cache, say=say), SOURCE, folder / _LIBRARY)

    return cache.build(KIND, digest[:24], recipe, {"source": digest}) / _LIBRARY


def lockstep_for(
    machine: Machine, cache: Cache, folder: Path, *, say: Say = silent
) -> Lockstep | None:
    """Return the lockstep for virtual time, counted in ``folder``; None in real time."""
    if machine.clock is not Clock.VIRTUAL:
        return None
    return Lockstep(provide_lockstep(cache, say=say), folder)


class Lockstep:
    """The lockstep of one QEMU, counted in ``folder``, which is this one's own."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._counters = folder / "lockstep"
        self._counters.write_bytes(bytes(_COUNTERS.size))
        # Loaders part names at spaces and colons, and there is no way to quote: a cache may well
        # lie under such a name, a scratch folder does not.
        self._library = folder / _LIBRARY
        self._library.symlink_to(library)

    def command(self, qemu: Qemu, *others: Path) -> tuple[str, ...]:
        """Return the arguments that start a QEMU in lockstep, ``others`` preloaded too.

        Switches follow.
        """
        return ("env", f"{_VARIABLE}={self._counters}", *qemu.preloading(self._library, *others))

    def counted(self) -> LockstepCounters:
        """Read the counters."""
        known, turns, out_of_step = _COUNTERS.unpack(self._counters.read_bytes())
        return LockstepCounters(bool(known), turns, out_of_step)
