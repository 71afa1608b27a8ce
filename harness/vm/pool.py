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
from harness.wait import NotYet, wait_for

_GUEST_OWN_MIB = 800
"""Memory a running guest was seen to take for itself at most, besides what guests share."""


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
        fitting = memory_slots(available_memory_mib(), guest_mib)
        if fitting < 1:
            raise MissingError(
                f"{available_memory_mib()} MiB of memory are free, a guest takes {guest_mib}",
                hint="end something else, or use a machine with more memory",
            )
        self.cpus = cpus[: min(len(cpus), fitting, slots or len(cpus))]
        self._runtime = runtime or runtime_folder()
        self._runtime.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def slots(self) -> int:
        """How many guests may run at once."""
        return len(self.cpus)

    @contextmanager
    def slot(self, *, within: float = 3600.0) -> Iterator[int]:
        """Yield a CPU for one guest, as long as the context is open; wait for a free one.

        Raises :class:`~harness.errors.WaitTimeout` after ``within`` seconds.
        """

        def free() -> tuple[int, BaseFileLock] | NotYet:
            for cpu in self.cpus:
                lock = FileLock(self._runtime / f"cpu{cpu}.lock", thread_local=False)
                with suppress(Timeout):
                    lock.acquire(timeout=0)
                    return cpu, lock
            return NotYet(f"all of CPUs {self.cpus} run a guest")

        cpu, lock = wait_for(free, state="a CPU free for a guest", within=within, every=0.05)
        try:
            yield cpu
        finally:
            lock.release()


def memory_slots(available_mib: int, guest_mib: int) -> int:
    """Return how many guests of ``guest_mib`` fit, an eighth of the memory being left to others."""
    return int(available_mib * 7 / 8) // guest_mib


def available_memory_mib() -> int:
    """Return the memory that can be had without swapping, MiB."""
    return int(psutil.virtual_memory().available) >> 20


def runtime_folder() -> Path:
    """Return where the locks lie: the session's runtime folder, else one of this user's in tmp."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.access(given, os.W_OK):
        return Path(given) / "swarm-chaos"
    return Path(tempfile.gettempdir()) / f"swarm-chaos-{os.getuid()}"
