"""Processes by their pid on this side, without mistaking a new one for an old one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import Protocol

from harness.errors import LabError


class Held(Protocol):
    """One process of a node that cannot be mistaken for another, wherever that node is."""

    @property
    def pid(self) -> int:
        """Its pid, as the machine counts that the node is on."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        ...

    def wait_gone(self, within: float) -> None:
        """Wait until it has ended; :class:`LabError` if it has not ``within`` seconds."""
        ...

    def close(self) -> None:
        """Let go of it, without a signal."""
        ...


class Process:
    """One process, held by a pidfd: a pid that is reused is never taken for it."""

    def __init__(self, pid: int, name: str) -> None:
        self.pid = pid
        self.name = name
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise LabError(f"{name} (pid {pid}) is gone") from error

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet (a zombie has)."""
        return not self._ended(0)

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def wait_gone(self, within: float) -> None:
        """Wait until it has ended; :class:`LabError` if it has not ``within`` seconds."""
        if not self._ended(within):
            raise LabError(f"{self.name} (pid {self.pid}) has not ended within {within:g} s")

    def close(self) -> None:
        """Let go of it, without a signal."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ended(self, within: float) -> bool:
        if self._fd < 0:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(within * 1000))


def children(pid: int, *, of_threads: bool = False) -> list[int]:
    """Pids of a process's children, oldest first; empty when it is gone.

    Those of its first thread; a Go program has children of any of them (``of_threads``).
    """
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*" if of_threads else str(pid)):
        with contextlib.suppress(OSError):  # it ended just now
            found += map(int, (thread / "children").read_text().split())
    return sorted(found) if of_threads else found


def comm(pid: int) -> str:
    """Return a process's name as the kernel has it; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
