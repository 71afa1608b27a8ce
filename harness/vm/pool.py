"""Who may run a guest where: one guest per CPU, over all processes of this user's machine.

A guest in virtual time wants one CPU to itself: with more guests than CPUs each costs more than
its share. Slots are lock files in a runtime folder, so two test runs at once, or the workers of
one, never share a CPU; the kernel lets go of a dead owner's lock.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import BaseFileLock, FileLock, Timeout

from harness.errors import MicrovmError, MissingError
from harness.files import untrusted
from harness.images import Say, silent
from harness.vm.cgroup_limits import CgroupLimits
from harness.vm.machine import Machine
from harness.wait import NotYet, wait_for

_GUEST_OWN_MIB = 800
"""Memory a running guest of the usual size was seen to take for itself at most, besides what guests
share."""

_TRIES_IN_SILENCE = 20
"""Looks for a free CPU, a twentieth of a second apart, before a wait is worth a word."""


class Pool:
    """Hands out CPUs to guests.

    ``slots``: at most so many guests of this process's pool at once; None for as many as there
    are CPUs and memory allows (``guest_mib``: what one guest takes for itself).
    """

    def __init__(
        self,
        slots: int | None = None,
        *,
        guest_mib: int = _GUEST_OWN_MIB,
        runtime: Path | None = None,
    ) -> None:
        if slots is not None and slots < 1:
            raise MicrovmError(f"a pool of {slots} slots can run nothing")
        cpus = sorted(os.sched_getaffinity(0))
        cpus = cpus[: CgroupLimits().cpus() or len(cpus)]
        fitting = memory_slots(available_memory_mib(), guest_mib)
        if fitting < 1:
            raise MissingError(
                f"{available_memory_mib()} MiB of memory are free, a guest takes {guest_mib}",
                hint="end something else, raise the container's limit if this is one, or use a "
                "machine with more memory",
            )
        self.cpus = cpus[: min(len(cpus), fitting, slots or len(cpus))]
        self._runtime = runtime or runtime_folder()
        _make_own(self._runtime)

    @property
    def slots(self) -> int:
        """How many guests may run at once."""
        return len(self.cpus)

    @contextmanager
    def slot(self, *, within: float = 3600.0, say: Say = silent) -> Iterator[int]:
        """Yield a CPU for one guest, as long as the context is open; wait for a free one.

        ``say`` gets a line if it has to wait. Raises :class:`~harness.errors.WaitTimeout` after
        ``within`` seconds.
        """
        asked = 0

        def free() -> tuple[int, BaseFileLock] | NotYet:
            nonlocal asked
            for cpu in self.cpus:
                lock = FileLock(self._runtime / f"cpu{cpu}.lock", thread_local=False)
                with suppress(Timeout):
                    lock.acquire(timeout=0)
                    return cpu, lock
            asked += 1
            if asked == _TRIES_IN_SILENCE:
                guests = "1 guest runs" if len(self.cpus) == 1 else f"{len(self.cpus)} guests run"
                say(f"waiting for a CPU: {guests}, each on one of its own")
            return NotYet(f"all of CPUs {self.cpus} run a guest")

        cpu, lock = wait_for(free, state="a CPU free for a guest", within=within, every=0.05)
        try:
            yield cpu
        finally:
            lock.release()


def own_mib(memory_mib: int) -> int:
    """Return how much memory a guest of this size takes for itself at most, in MiB.

    One that is larger than usual may use all that it has more.
    """
    return _GUEST_OWN_MIB + memory_mib - Machine.memory_mib


def memory_slots(available_mib: int, guest_mib: int) -> int:
    """Return how many guests of ``guest_mib`` fit, an eighth of the memory being left to others."""
    return int(available_mib * 7 / 8) // guest_mib


def available_memory_mib() -> int:
    """Return the memory that can be had without swapping, within a container's limit; MiB."""
    left = CgroupLimits().memory_left()
    available = int(psutil.virtual_memory().available)
    return (available if left is None else min(available, left)) >> 20


def runtime_folder() -> Path:
    """Return where the locks lie: the session's runtime folder, else one of this user's in tmp."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.access(given, os.W_OK):
        return Path(given) / "swarm-chaos"
    return Path(tempfile.gettempdir()) / f"swarm-chaos-{os.getuid()}"


def _make_own(folder: Path) -> None:
    """Make the folder for locks: in one of another user's, that user could hold them for ever."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        trouble = untrusted(folder)
    except OSError as error:
        trouble = f"cannot be made: {error.strerror}"
    if trouble:
        raise MicrovmError(
            f"the folder for guests' locks, {folder}, {trouble}",
            hint="remove it, or set XDG_RUNTIME_DIR to a folder of your own",
        )
