"""``swarm-chaos bench report``: what the pages of many trials cost, to make and to open.

Each measurement is a process of its own, so that its memory is its own too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.bench.metric import Metric, median_of
from harness.errors import HarnessError
from harness.results import read_run

_MIB = 1 << 20
_BUILD = """
import json, resource, sys, time
from pathlib import Path
began = time.perf_counter()
from harness.report import write_report
write_report(Path(sys.argv[1]))
seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def metrics(run: Path, *, times: int) -> Iterator[Metric]:
    """Build the pages of ``run`` ``times`` times; names carry the number of its trials."""
    taken = [_built(run) for _ in range(times)]
    name = f"report.{len(read_run(run).trials)}"
    for place, (what, unit) in enumerate((("wall", "s"), ("cpu", "s"), ("memory", "MiB"))):
        yield median_of(f"{name}.{what}", [t[place] for t in taken], unit)
    pages = [path for path in (run / "pages").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in [*pages, run / "index.html"])
    yield median_of(f"{name}.size", [size / _MIB], "MiB")
    yield median_of(f"{name}.index", [(run / "index.html").stat().st_size / _MIB], "MiB")


def _built(run: Path) -> tuple[float, float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(run)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HarnessError(f"cannot build the report: {done.stderr.strip()[-500:]}")
    wall, cpu, memory = json.loads(done.stdout)
    return wall, cpu, memory
