"""Which QEMU runs the guests: Debian's, which is fetched, or one of the user's own."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError, UsageError
from harness.images import Cache, Say, silent
from harness.images.debian_qemu import cached_qemu, debian_qemu, debian_qemu_fits, reported_version

VARIABLE = "SWARM_CHAOS_QEMU"


@dataclass(frozen=True)
class Qemu:
    """A QEMU that is here: its ``version`` with the package's revision, the arguments to start it.

    ``loader`` are those of them that belong to a loader of its own, if it has one.
    """

    version: str
    command: tuple[str, ...]
    loader: tuple[str, ...] = ()

    def preloading(self, *libraries: Path) -> tuple[str, ...]:
        """Return the arguments that start it with ``libraries`` preloaded."""
        named = ":".join(str(library) for library in libraries)
        if not self.loader:
            return ("env", f"LD_PRELOAD={named}", *self.command)
        rest = self.command[len(self.loader) :]
        return (*self.loader, "--preload", named, *rest)


def provide_qemu(cache: Cache, *, say: Say = silent) -> Qemu:
    """Return the QEMU that guests run under; fetch Debian's, saying so, if it is not cached.

    :class:`~harness.errors.UsageError` when :data:`VARIABLE` names what is not a QEMU; else errors
    as in :mod:`harness.images.debian`.
    """
    own = own_qemu()
    if own is not None:
        return own
    debian = debian_qemu(cache, say=say)
    return Qemu(debian.version, debian.command, debian.loader)


def own_qemu() -> Qemu | None:
    """Return the user's own QEMU, if :data:`VARIABLE` names one: a path, or a name on the PATH."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    found = shutil.which(named)
    if found is None:
        raise UsageError(
            f"{VARIABLE} is {named!r}, and there is no such program",
            hint="name one by its path, or leave it unset: then Debian's QEMU is fetched",
        )
    return _asked(str(Path(found).absolute()))


@functools.cache
def _asked(program: str) -> Qemu:
    try:
        return Qemu(reported_version([program]), (program,))
    except ImageError as error:
        raise UsageError(
            f"{VARIABLE} is {program!r}, which is not a QEMU that can run a guest: {error.what}",
            hint="name a qemu-system-x86_64, or leave it unset: then Debian's is fetched",
        ) from error


def qemu_at_hand(cache: Cache) -> bool:
    """Return whether :func:`provide_qemu` may succeed; fetches and starts nothing."""
    fetchable = debian_qemu_fits() and shutil.which("mmdebstrap") is not None
    return bool(os.environ.get(VARIABLE)) or fetchable or cached_qemu(cache) is not None
