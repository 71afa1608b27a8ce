"""A node's cgroup controllers in either version, and cgroups for the processes of faults."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import FaultError, LabError
from harness.lab import Node
from harness.lab.dockerd import NAMESPACES
from harness.lab.janitor import inherit_cpuset, remove_group
from harness.lab.nsenter import entering, joining


@dataclass(frozen=True)
class Controller:
    """One controller of a node's groups: its name (as version 2 has it), version and group."""

    name: str
    version: Literal[1, 2]
    group: Path

    def has(self, file: str) -> bool:
        """Return whether the kernel offers this file of it."""
        return (self.group / file).exists()

    def read(self, file: str) -> str:
        """Return a file's content; :class:`LabError` when it cannot be read."""
        try:
            return (self.group / file).read_text().strip()
        except OSError as error:
            raise LabError(f"cannot read {file} of {self.group.name}: {error.strerror}") from error

    def write(self, file: str, value: str) -> None:
        """Write a file; :class:`LabError` with the kernel's reason when it refuses the value."""
        try:
            (self.group / file).write_text(value)
        except OSError as error:
            raise LabError(
                f"the kernel refuses {value!r} as {file} of {self.group.name}: {error.strerror}"
            ) from error

    def below(self, name: str) -> Controller:
        """Return the same controller of a group below."""
        return Controller(self.name, self.version, self.group / name)

    def counter(self, file: str, key: str) -> int:
        """Return a number from a file of lines ``key value``; 0 when it has no such key."""
        for line in self.read(file).splitlines():
            if line.split()[0] == key:
                return int(line.split()[1])
        return 0


_CALLED_IN_V1 = {"io": "blkio"}


def controller(node: Node, name: str) -> Controller:
    """Return a node's controller (``cpu``, ``memory``, ``pids``, ``io``).

    :class:`FaultError` where the node has none of this name.
    """
    unified = node.here.groups.unified
    if unified is not None and name in _split(unified / "cgroup.controllers"):
        return Controller(name, 2, unified)
    wanted = _CALLED_IN_V1.get(name, name)
    for group in node.here.groups.v1:
        if wanted in group.parents[2].name.split(",") and group.is_dir():
            return Controller(name, 1, group)
    raise FaultError(f"the cgroup controller {name} is not available to {node.name}")


def _split(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


class FaultCgroup:
    """A cgroup below a node's own, for processes of a fault: all of them can be killed at once.

    Its processes see the node's files and network and die with the node.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._name = f"fault-{name}"

    @property
    def groups(self) -> list[Path]:
        """Its cgroups, one in each hierarchy; they may not exist."""
        return [group / self._name for group in self._node.here.groups.entry()]

    def make(self) -> None:
        """Make the cgroups."""
        for group in self.groups:
            group.mkdir(exist_ok=True)
            inherit_cpuset(group)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program in it; return the nsenter process (kill the program by :meth:`end`)."""
        return subprocess.Popen(
            joining(self.groups, entering(self._node.here.pid, NAMESPACES, argv)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._node.here.environment,
        )

    def adopt(self, pid: int) -> None:
        """Move a process of the node into it."""
        for group in self.groups:
            _move(pid, group)

    def release(self, pid: int) -> None:
        """Move a process back to the node's own cgroups."""
        for group in self._node.here.groups.leaves():
            _move(pid, group)

    def processes(self) -> set[int]:
        """Return the pids of its processes."""
        return {int(pid) for group in self.groups for pid in _split(group / "cgroup.procs")}

    def end(self) -> bool:
        """Kill its processes and remove it; return whether it is gone, as it is without a node."""
        gone = [remove_group(group) for group in self.groups]  # each, whatever the others return
        return all(gone)


def _move(pid: int, group: Path) -> None:
    try:
        (group / "cgroup.procs").write_text(str(pid))
    except ProcessLookupError:
        raise LabError(f"process {pid} has ended") from None
    except OSError as error:
        raise LabError(f"cannot move process {pid} to {group}: {error.strerror}") from error


def reap(process: subprocess.Popen[bytes] | None) -> None:
    """Wait for an nsenter process whose cgroup has been ended."""
    if process is None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait()
