"""What a container's limits leave: memory and CPUs by the cgroups that this process is in.

``/proc/meminfo`` and the CPUs that may be run on are the machine's, whatever a container is
allowed. Every group from this process's own up to the root of what is mounted can set a limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # version 1 says so by a number about as large


@dataclass(frozen=True)
class CgroupLimits:
    """The limits of a process. ``membership`` is its ``/proc/self/cgroup``."""

    membership: Path = Path("/proc/self/cgroup")
    mounts: Path = Path("/sys/fs/cgroup")

    def memory_left(self) -> int | None:
        """Return the bytes that may still be taken, None without a limit.

        Pages of files that nobody uses at the moment count as free, as they do for the kernel.
        """
        left = []
        for group in self._groups("memory"):
            limit = _number(group / "memory.max", group / "memory.limit_in_bytes")
            used = _number(group / "memory.current", group / "memory.usage_in_bytes")
            if limit is not None and limit < _UNLIMITED and used is not None:
                left.append(max(0, limit - used + _idle_file_bytes(group / "memory.stat")))
        return min(left, default=None)

    def cpus(self) -> int | None:
        """Return how many CPUs' time may be taken, at least 1; None without a limit."""
        quotas = []
        for group in self._groups("cpu"):
            words = _words(group / "cpu.max", 2) or (
                *_words(group / "cpu.cfs_quota_us", 1),
                *_words(group / "cpu.cfs_period_us", 1),
            )
            if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
                quotas.append(int(words[0]) / int(words[1]))
        return max(1, math.floor(min(quotas))) if quotas else None

    def _groups(self, controller: str) -> Iterator[Path]:
        """Yield this process's groups that may limit ``controller``, from its own upwards.

        A container often has its own group mounted as the root, and names it by a path that is
        not there: the root is looked at in any case.
        """
        try:
            lines = self.membership.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mounted = [self.mounts / controllers, self.mounts / controller]
            for mount in dict.fromkeys(mounted if controllers else [self.mounts]):
                group = mount / path.strip("/")
                while group.is_relative_to(mount):
                    yield group
                    group = group.parent


def oom_kills(vmstat: Path = Path("/proc/vmstat")) -> int:
    """Return how many processes the kernel has killed for want of memory since it booted."""
    try:
        facts = dict(line.split(" ", 1) for line in vmstat.read_text().splitlines())
        return int(facts["oom_kill"])
    except (OSError, KeyError, ValueError):
        return 0


def _number(*files: Path) -> int | None:
    for file in files:
        if words := _words(file, 1):
            return int(words[0]) if words[0].isdecimal() else None
    return None


def _words(file: Path, count: int) -> tuple[str, ...]:
    try:
        words = tuple(file.read_text().split())
    except OSError:
        return ()
    return words if len(words) == count else ()


def _idle_file_bytes(stat: Path) -> int:
    try:
        facts = dict(line.split(" ", 1) for line in stat.read_text().splitlines())
        return int(facts.get("total_inactive_file", facts.get("inactive_file", "0")))
    except (OSError, ValueError):
        return 0
