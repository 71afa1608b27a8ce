"""A process inside a node, by its pid there: whether it lives, without asking any daemon."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import LabError
from harness.lab import Node


class ProcHandle:
    """A process of a node's own pid namespace, held by its entry in the node's ``/proc``.

    The entry belongs to the process and not to the number: it is dead for good when the process
    is, whatever number comes again, and dead too when the whole node is gone.
    """

    def __init__(self, node: Node, pid: int) -> None:
        if pid <= 0:
            raise LabError(f"{pid} is not a process id (on {node.name})")
        self.pid = pid
        self._home = Path(f"/proc/{node.here.pid}/root/proc/{pid}")
        try:
            self._entry = os.open(self._home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LabError(f"there is no process {pid} on {node.name}") from error

    @property
    def network(self) -> Path:
        """Its network namespace, as a path on this side."""
        return self._home / "ns" / "net"

    @property
    def alive(self) -> bool:
        """Whether it lives; what has ended and was not yet waited for does not."""
        try:
            stat = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._entry)
        except OSError:
            return False
        try:
            text = os.read(stat, 512)
        except OSError:
            return False
        finally:
            os.close(stat)
        return text.rpartition(b") ")[2][:1] not in (b"Z", b"X")

    def close(self) -> None:
        """Let go of it."""
        os.close(self._entry)
