"""``swarm-chaos bench microvm``: freezing, thawing, and what virtual time costs on this machine.

The swarm has 3 managers and 2 workers, for the pace of idle time 3 managers; the guest does
nothing beside it but what is said here.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

import harness
from harness.bench.metric import Figure, median_of, show
from harness.errors import MicrovmError
from harness.guest.contract import PYTEST_ENVIRONMENT
from harness.images import Cache
from harness.snapshots.payload import packed
from harness.snapshots.source_bundle import trial_sources
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import GuestResult, thaw

MIB = 1 << 20
FIRST_LINE = "bench: first line"
IDLE_SECONDS = 120.0
"""Virtual seconds that the idle swarm is left alone for."""

_TEST = f'''\
import os, time, uuid
from pathlib import Path

def test_idle(request):
    Path("/dev/console").write_text("{FIRST_LINE}\\n")
    time.sleep(float(os.environ["BENCH_SECONDS"]))
    out = Path(request.config.getoption("--trial-into"))
    out.mkdir(parents=True, exist_ok=True)
    told = [str(time.monotonic_ns()), str(uuid.uuid4())]
    for process in sorted(Path("/proc").glob("[0-9]*/schedstat")):
        told.append(f"{{process}} {{process.read_text()}}")
    (out / "fingerprint.txt").write_text("\\n".join(told))
'''


def payload(cache: Cache) -> bytes:
    """The harness's sources, as a trial brings them, and one test that waits."""
    files = trial_sources(Path(harness.__file__).parent.parent, [])
    return packed({**files, "bench/test_idle.py": _TEST.encode()}, cache)


def idle(
    snapshot: Snapshot, body: bytes, cpu: int, folder: Path, *, seconds: float, seed: int = 1
) -> tuple[GuestResult, float]:
    """Leave the swarm alone for ``seconds`` virtual seconds.

    Returns how the guest ended and the wall seconds from the order to the test's first line.
    """
    inputs = {
        "trial": "bench",
        "args": ["-q", "-s", "-W", "ignore", "-p", "no:cacheprovider", "bench/test_idle.py"],
        "environment": {"BENCH_SECONDS": str(seconds), **PYTEST_ENVIRONMENT},
    }
    began = time.monotonic()
    first_line = 0.0
    deadline = 10 * seconds + 300
    with thaw(snapshot, body, inputs, seed=seed, virtual_deadline=deadline, cpu=cpu) as guest:
        for line in guest.console_lines():
            if FIRST_LINE in line:
                first_line = time.monotonic() - began
        result = guest.wait(folder, wall_deadline=10 * seconds + 300)
    if not result.ok or not first_line:
        raise MicrovmError(
            f"the idle guest did not do its work: {result.outcome}, exit code "
            f"{result.exit_code}; the end of its console:\n{result.console_tail}"
        )
    return result, first_line


def fingerprint(result: GuestResult) -> str:
    """A digest of all that the guest left and said."""
    told = hashlib.sha256(result.console.read_bytes())
    told.update((result.folder / "bench" / "fingerprint.txt").read_bytes())
    return told.hexdigest()


def figures(
    snapshot: Snapshot, small: Snapshot, body: bytes, *, thaws: int, runs: int
) -> Iterator[Figure]:
    """Measure frozen swarms: ``thaws`` thaws and ``runs`` of each idle run (``small``: 3 nodes)."""
    yield Figure("microvm.freeze", float(snapshot.manifest["wall_seconds"]), "s")
    yield Figure("microvm.disk", round(snapshot.disk_bytes / MIB, 1), "MiB")
    pool = Pool()
    with tempfile.TemporaryDirectory(prefix="swarm-chaos-bench-") as scratch:
        folder = Path(scratch)
        with pool.slot() as cpu:
            yield median_of("microvm.thaw", list(_thaws(snapshot, body, cpu, thaws)), "s")
            alone = [
                idle(snapshot, body, cpu, folder / f"{run}", seconds=IDLE_SECONDS)
                for run in range(runs)
            ]
            three = [
                idle(small, body, cpu, folder / f"small{run}", seconds=IDLE_SECONDS)[0]
                for run in range(runs)
            ]
        yield median_of("microvm.first_line", [first for _, first in alone], "s")
        ratios = [result.virtual_seconds / result.wall_seconds for result in three]
        yield median_of("microvm.idle_speedup", ratios, "1")
        one = sum(result.wall_seconds for result, _ in alone) / runs
        if pool.slots > 1:
            both = [_pair(snapshot, body, pool, folder / f"pair{run}") for run in range(runs)]
            yield median_of("microvm.parallel_speedup", [2 * one / pair for pair in both], "1")


def _thaws(snapshot: Snapshot, body: bytes, cpu: int, count: int) -> Iterator[float]:
    for _ in range(count):
        with thaw(snapshot, body, {}, seed=1, virtual_deadline=1, cpu=cpu) as guest:
            yield guest.thaw_seconds


def _pair(snapshot: Snapshot, body: bytes, pool: Pool, folder: Path) -> float:
    """Wall seconds of two idle runs at once."""

    def run(number: int) -> None:
        with pool.slot() as cpu:
            idle(snapshot, body, cpu, folder / str(number), seconds=IDLE_SECONDS)

    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(run, range(2)))
    return time.monotonic() - began


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--engine", default="stable", show_default=True, help="Engine of all nodes.")
@click.option("--kernel", default="6.12", show_default=True, help="The guest's kernel.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(min=1), help="Of each.")
def microvm(as_json: bool, engine: str, kernel: str, runs: int) -> None:
    """Freezing and thawing a swarm of 3 managers and 2 workers, and virtual time's pace."""
    from harness.lab import Topology
    from harness.snapshots.swarm_snapshot import FrozenSwarm, freeze_swarm
    from harness.vm.machine import Machine

    def say(line: str) -> None:
        click.echo(line, err=True)

    cache = Cache(say=say)

    def frozen(topology: Topology) -> Snapshot:
        return freeze_swarm(FrozenSwarm(engine, topology, kernel, Machine()), cache, say=say)[0]

    five, three = frozen(Topology(3, 2)), frozen(Topology(3))
    show(figures(five, three, payload(cache), thaws=20, runs=runs), as_json=as_json)
