"""``swarm-chaos bench report``: what the pages of many trials cost, to make and to open.

Each figure comes from a process of its own, so that its memory is its own too. The trials are
synthetic, with 1,200 requests and six probes each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from harness.bench.metric import Figure, median_of, show
from harness.bench.synthetic_runs import many_trials
from harness.errors import HarnessError

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


def figures(run: Path, *, name: str, times: int) -> Iterator[Figure]:
    """Make the pages of ``run`` ``times`` times."""
    taken = [_built(run) for _ in range(times)]
    for place, (what, unit) in enumerate((("wall", "s"), ("cpu", "s"), ("memory", "MiB"))):
        yield median_of(f"report.{name}.{what}", [t[place] for t in taken], unit)
    pages = [path for path in (run / "pages").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in [*pages, run / "index.html"])
    yield median_of(f"report.{name}.size", [size / _MIB], "MiB")
    yield median_of(f"report.{name}.index", [(run / "index.html").stat().st_size / _MIB], "MiB")


def _built(run: Path) -> tuple[float, float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(run)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HarnessError(f"the report could not be made: {done.stderr.strip()[-500:]}")
    wall, cpu, memory = json.loads(done.stdout)
    return wall, cpu, memory


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--trials", default=500, show_default=True, type=click.IntRange(min=1), help="In the run."
)
@click.option(
    "--times", default=1, show_default=True, type=click.IntRange(min=1), help="Of each figure."
)
def report(as_json: bool, trials: int, times: int) -> None:
    """What the pages of many trials cost. Needs neither root nor a lab."""
    with tempfile.TemporaryDirectory(prefix="swarm-chaos-report-") as folder:
        click.echo(f"writing {trials} synthetic trials …", err=True)
        run = many_trials(Path(folder), trials)
        click.echo("making their pages …", err=True)
        show(list(figures(run, name=f"{trials}", times=times)), as_json=as_json)
