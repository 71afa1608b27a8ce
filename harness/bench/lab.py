"""``swarm-chaos bench lab``: how fast nodes of the namespaces lab come up, and what they weigh.

Ready means: every dockerd answers, the swarm is formed, and every member is listed as ready. The
cache is warmed before anything is timed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from harness.bench.metric import Figure, median_of, show
from harness.engine import Engine, provide, resolve
from harness.images import Cache
from harness.lab import NamespacesLab, Node, Topology
from harness.swarm import Swarm, seed_for

MIB = 1 << 20

SHAPES = {"3m": Topology(3, 0), "20n": Topology(3, 17)}
"""Short name and topology of what is timed."""


def figures(engine: Engine, seeds: Path | None, *, runs: int) -> Iterator[Figure]:
    """Time each shape ``runs`` times; of the largest the memory, too."""
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
    """Bytes that the processes of ``nodes`` hold: the sum of their PSS, so that a page shared by
    several is counted once. The page cache is not in it."""
    spaces = {_pid_namespace(Path("/proc", str(node.pid))) for node in nodes}
    total = 0
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _pid_namespace(process) in spaces - {None}:
            try:
                total += pss_in((process / "smaps_rollup").read_text())
            except OSError:
                continue  # it ended while we looked
    return total


def pss_in(smaps_rollup: str) -> int:
    """Bytes of PSS in the text of ``/proc/PID/smaps_rollup``; 0 if it has none."""
    found = re.search(r"^Pss: +(\d+) kB$", smaps_rollup, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _pid_namespace(process: Path) -> str | None:
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--engine", default="stable", show_default=True, help="Engine of all nodes.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(min=1), help="Of each.")
def lab(as_json: bool, engine: str, runs: int) -> None:
    """How fast nodes of the namespaces lab come up, and what they weigh. Needs root."""

    def say(line: str) -> None:
        click.echo(line, err=True)

    cache = Cache(say=say)
    provided = provide(resolve(engine), cache, say=say)
    seeds = seed_for(cache, say=say)(provided)
    show(figures(provided, seeds, runs=runs), as_json=as_json)
