"""Freezing, thawing, and what virtual time costs on this machine.

The swarm has 3 managers and 2 workers; for the speed of idle time it has 3 managers. The guest
does nothing else.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from harness.bench.metric import Metric, median_of
from harness.errors import MicrovmError
from harness.guest.contract import PYTEST_ENVIRONMENT
from harness.images import Cache
from harness.snapshots.payload import packed
from harness.snapshots.source_bundle import trial_sources
from harness.snapshots.warm_up import warmed_up
from harness.swarm.workload import balanced_web, facts_of
from harness.vm.checkpoint import Checkpoint
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
    digest = [str(time.monotonic_ns()), str(uuid.uuid4())]
    for process in sorted(Path("/proc").glob("[0-9]*/schedstat")):
        digest.append(f"{{process}} {{process.read_text()}}")
    (out / "fingerprint.txt").write_text("\\n".join(digest))
'''


def payload(cache: Cache) -> bytes:
    """Return a payload: the harness's sources, as for a trial, and one test that waits."""
    files = trial_sources(Path(harness.__file__).parent.parent, [])
    return packed({**files, "bench/test_idle.py": _TEST.encode()}, cache)


def idle(
    source: Snapshot | Checkpoint,
    body: bytes,
    cpu: int,
    folder: Path,
    *,
    seconds: float,
    seed: int = 1,
) -> tuple[GuestResult, float]:
    """Leave the swarm alone for ``seconds`` virtual seconds.

    Returns the guest's result and the wall seconds from the thaw to the test's first line.
    """
    inputs = {
        "trial": "bench",
        "args": ["-q", "-s", "-W", "ignore", "-p", "no:cacheprovider", "bench/test_idle.py"],
        "environment": {"BENCH_SECONDS": str(seconds), **PYTEST_ENVIRONMENT},
    }
    began = time.monotonic()
    first_line = 0.0
    deadline = 10 * seconds + 300
    with thaw(source, body, inputs, seed=seed, virtual_deadline=deadline, cpu=cpu) as guest:
        for line in guest.console_lines():
            if FIRST_LINE in line:
                first_line = time.monotonic() - began
        result = guest.wait(folder, wall_deadline=10 * seconds + 300)
    if not result.ok or not first_line:
        raise MicrovmError(
            f"the idle guest did not finish: {result.outcome}, exit code "
            f"{result.exit_code}; the end of its console:\n{result.console_tail}"
        )
    return result, first_line


def fingerprint(result: GuestResult) -> str:
    """Return a digest of everything that the guest wrote."""
    digest = hashlib.sha256(result.console.read_bytes())
    digest.update((result.folder / "bench" / "fingerprint.txt").read_bytes())
    return digest.hexdigest()


def metrics(
    snapshot: Snapshot, small: Snapshot, body: bytes, *, thaws: int, runs: int
) -> Iterator[Metric]:
    """Measure frozen swarms: ``thaws`` thaws and ``runs`` of each idle run (``small``: 3 nodes).

    A branch is the swarm kept in mid-run, with a workload deployed, and a child is thawed from it.
    """
    yield Metric("microvm.freeze", snapshot.manifest.wall_seconds, "s")
    yield Metric("microvm.disk", round(snapshot.disk_bytes / MIB, 1), "MiB")
    pool = Pool()
    serving = facts_of(balanced_web(replicas=4))
    inputs = {"seed": 1, "reseed": True, "serving": serving}
    warm = warmed_up(snapshot, inputs, 1, pool, watch=lambda _: None)
    yield Metric("microvm.branch", warm.wall_seconds, "s")
    warm.rest()
    yield Metric("microvm.branch_disk_at_rest", round(warm.disk_bytes / MIB, 1), "MiB")
    began = time.monotonic()
    with warm.pages():
        yield Metric("microvm.branch_unpack", round(time.monotonic() - began, 3), "s")
    yield Metric("microvm.branch_disk", round(warm.disk_bytes / MIB, 1), "MiB")
    with tempfile.TemporaryDirectory(prefix="swarm-chaos-bench-") as scratch:
        folder = Path(scratch)
        with pool.slot() as cpu:
            yield median_of("microvm.thaw", list(_thaws(snapshot, body, cpu, thaws)), "s")
            yield median_of("microvm.child", list(_thaws(warm, body, cpu, thaws)), "s")
            alone = [
                idle(snapshot, body, cpu, folder / f"{run}", seconds=IDLE_SECONDS)
                for run in range(runs)
            ]
            begun = [
                idle(warm, body, cpu, folder / f"child{run}", seconds=1) for run in range(runs)
            ]
            three = [
                idle(small, body, cpu, folder / f"small{run}", seconds=IDLE_SECONDS)[0]
                for run in range(runs)
            ]
        yield median_of("microvm.first_line", [first for _, first in alone], "s")
        yield median_of("microvm.child_first_line", [first for _, first in begun], "s")
        ratios = [result.virtual_seconds / result.wall_seconds for result in three]
        yield median_of("microvm.idle_speedup", ratios, "1")
        one = sum(result.wall_seconds for result, _ in alone) / runs
        if pool.slots > 1:
            both = [_pair(snapshot, body, pool, folder / f"pair{run}") for run in range(runs)]
            yield median_of("microvm.parallel_speedup", [2 * one / pair for pair in both], "1")


def _thaws(source: Snapshot | Checkpoint, body: bytes, cpu: int, count: int) -> Iterator[float]:
    for _ in range(count):
        with thaw(source, body, {}, seed=1, virtual_deadline=1, cpu=cpu) as guest:
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
