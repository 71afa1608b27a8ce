"""How fast labs of nodes on this kernel come up, and how much memory their nodes take.

Ready means: every dockerd answers, the swarm is formed, and every member is listed as ready. The
cache is warmed before anything is timed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from harness.bench.metric import Metric, median_of
from harness.lab import Node, Topology
from harness.swarm import Swarm
from harness.swarm.lab_makers import LabMaker

MIB = 1 << 20

SHAPES = {"3m": Topology(3, 0), "3m2w": Topology(3, 2), "20n": Topology(3, 17)}
"""Short name and topology of each lab that is timed."""


def metrics(
    makers: Mapping[str, LabMaker], engine: str, *, runs: int, shapes: Collection[str] = SHAPES
) -> Iterator[Metric]:
    """Time each topology ``runs`` times in each lab, the labs in turn; of 20 nodes also memory."""
    for name in shapes:
        seconds: dict[str, list[float]] = {lab: [] for lab in makers}
        memory: dict[str, list[float]] = {lab: [] for lab in makers}
        for _ in range(runs):
            for lab, maker in makers.items():
                began = time.monotonic()
                with closing(maker.make(SHAPES[name], engine)) as made:
                    Swarm.form(made)
                    seconds[lab].append(time.monotonic() - began)
                    memory[lab].append(memory_of(made.nodes.values()) / MIB)
        for lab in makers:
            yield median_of(f"{lab}.{name}.ready", seconds[lab], "s")
            if name == "20n":
                yield median_of(f"{lab}.{name}.memory", memory[lab], "MiB")


def warm(makers: Iterable[LabMaker], engine: str) -> None:
    """Fill caches before anything is timed: the engine, its image, what its nodes start with."""
    for maker in makers:
        maker.require()
        maker.make(Topology(), engine).close()


def memory_of(nodes: Iterable[Node], field: str = "Pss") -> int:
    """Return the bytes of memory of all processes of ``nodes``, their containers' left out.

    It is the sum of a field of ``/proc/PID/smaps_rollup``: of ``Pss``, in which a page that
    several processes share counts once, or of ``Anonymous``, what no file holds.
    """
    spaces = {_pid_namespace(Path("/proc", str(node.here.pid))) for node in nodes}
    total = 0
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _pid_namespace(process) in spaces - {None}:
            try:
                total += bytes_in((process / "smaps_rollup").read_text(), field)
            except OSError:
                continue  # it has just ended
    return total


def bytes_in(smaps_rollup: str, field: str) -> int:
    """Return a field of the text of ``/proc/PID/smaps_rollup`` in bytes; 0 if it has none."""
    found = re.search(rf"^{field}: +(\d+) kB$", smaps_rollup, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _pid_namespace(process: Path) -> str | None:
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return None
