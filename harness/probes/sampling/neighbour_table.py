"""Whether the kernel's neighbour tables were full, which all network namespaces share.

A kernel keeps the neighbours (ARP, and NDISC for IPv6) of all its namespaces in one table each,
with room for ``net.ipv4.neigh.default.gc_thresh3``, 1024 unless somebody raised it. A lab of n
nodes may have n² of them: one of fifty filled it, one of twenty did not. Where it is full,
packets to whoever is not in it are dropped, and a healthy swarm times out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.trial import Trial

_STATISTICS = Path("/proc/net/stat")
_TABLES = ("arp_cache", "ndisc_cache")

ENOUGH = 16384
"""Room for neighbours that labs of a hundred nodes do not fill."""

CURE = f"as root: sysctl -w net.ipv4.neigh.default.gc_thresh3={ENOUGH}"


def times_full(folder: Path = _STATISTICS) -> int:
    """Return how often a neighbour table had no room since this kernel booted.

    Raises ``OSError`` or ``ValueError`` where the kernel does not say: another network namespace
    than the first has no such files.
    """
    return sum(_times_full((folder / name).read_text()) for name in _TABLES)


def _times_full(text: str) -> int:
    # A line of names, then one of hexadecimal numbers for each CPU.
    names, *rows = (line.split() for line in text.splitlines())
    column = names.index("table_fulls")
    return sum(int(row[column], 16) for row in rows)


class NeighbourTable:
    """What of the neighbour tables' room was missing since this was made.

    Where nobody can tell it doubts nothing, and says so in the trial's journal.
    """

    def __init__(self, read: Callable[[], int] = times_full) -> None:
        self._read = read
        self._why = ""
        self._before = self._reading()

    @property
    def overflows(self) -> int:
        """How often a neighbour found no room since then; 0 where that is not known."""
        now = self._reading()
        return now - self._before if now is not None and self._before is not None else 0

    def doubts(self, trial: Trial) -> Iterator[str]:
        """Record that a table was full, or that nobody can tell; yield the former as a doubt."""
        if overflows := self.overflows:
            trial.journal.write("neighbours.full", times=overflows)
            yield overflowed(overflows)
        elif self._why:
            trial.journal.write("neighbours.unwatched", why=self._why)

    def _reading(self) -> int | None:
        try:
            return self._read()
        except (OSError, ValueError) as error:
            self._why = str(error)
            return None


def overflowed(times: int) -> str:
    """Return the sentence that says so, with what helps."""
    return (
        f"this kernel's table of neighbours, which all labs on it share, was full {times} times, "
        f"and packets were dropped: {CURE}"
    )
