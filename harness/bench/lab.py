"""How fast nodes of the namespaces lab come up, and how much memory they take.

Ready means: every dockerd answers, the swarm is formed, and every member is listed as ready. The
cache is warmed before anything is timed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.bench.metric import Metric, median_of
from harness.engine import Engine
from harness.lab import NamespacesLab, Node, Topology
from harness.swarm import Swarm

MIB = 1 << 20

SHAPES = {"3m": Topology(3, 0), "20n": Topology(3, 17)}
"""Short name and topology of each lab that is timed."""


def metrics(engine: Engine, seeds: Path | None, *, runs: int) -> Iterator[Metric]:
    """Time each topology ``runs`` times; of the largest also measure the memory."""
    for name, topology in SHAPES.items():
        seconds: list[float] = []
        memory: list[float] = []
        for _ in range(runs):
            began = time.monotonic()
            with NamespacesLab.build(
                topology, lambda _node: engine, seed_for=lambda _engine: seeds
            ) as lab:
                Swarm.form(lab)
                seconds.append(time.monotonic() - began)
                memory.append(memory_of(lab.nodes.values()) / MIB)
        yield median_of(f"namespaces.{name}.ready", seconds, "s")
        if name == "20n":
            yield median_of(f"namespaces.{name}.memory", memory, "MiB")


def memory_of(nodes: Iterable[Node]) -> int:
    """Return the bytes of memory of all processes of ``nodes``, without the page cache.

    It is the sum of their PSS, in which a page that several share counts once.
    """
    spaces = {_pid_namespace(Path("/proc", str(node.here.pid))) for node in nodes}
    total = 0
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _pid_namespace(process) in spaces - {None}:
            try:
                total += pss_in((process / "smaps_rollup").read_text())
            except OSError:
                continue  # it has just ended
    return total


def pss_in(smaps_rollup: str) -> int:
    """Return the bytes of PSS in the text of ``/proc/PID/smaps_rollup``; 0 if it has none."""
    found = re.search(r"^Pss: +(\d+) kB$", smaps_rollup, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _pid_namespace(process: Path) -> str | None:
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return None
