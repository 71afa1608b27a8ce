"""What a dockerd holds: memory, threads, goroutines and file descriptors, by time.

The kernel is asked about the process, and dockerd's own metrics about its runtime. Both cost
dockerd little and its API nothing, so they also work while that hangs. Growth is judged by
:mod:`harness.probes.sampling.robust_slope`.
"""

from __future__ import annotations

import http.client
import os
import re
import statistics
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.errors import LabError, UsageError
from harness.lab import Node
from harness.probes.sampling.robust_slope import Trend, trend_of
from harness.probes.sampling.threads import doubt_ended
from harness.trial import Trial
from harness.wait import Moment, trial_moment

MIB = 1 << 20

#: Every how many samples one is taken with all that there is to know. To read all pages and have
#: dockerd put its metrics together takes a tenth of a second in an emulated guest.
_CLOSELY = 5

#: Quantities that a growth or a level can be asked of.
QUANTITIES = ("rss", "pss", "anonymous", "heap", "goroutines", "threads", "files")

_STATUS = re.compile(r"^(VmRSS|RssAnon|Threads):\s+(\d+)", re.MULTILINE)
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_METRIC = re.compile(r"^(go_goroutines|go_memstats_heap_inuse_bytes) (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Held:
    """What one dockerd held at ``t`` (trial seconds).

    In bytes: ``rss``; ``pss``, with its share of the pages that several processes have;
    ``anonymous``, without the pages of files (the engine's binary is 100 MB, and which of it is in
    memory is not dockerd's doing); ``heap``, in use by Go, whose runtime gives memory back late.
    The others are counts. ``pss``, ``heap`` and ``goroutines`` cost more to know, and are known of
    every fifth sample only. None: not asked, or not available; ``pid`` None: it did not run.
    """

    t: float
    node: str
    pid: int | None
    rss: int | None = None
    pss: int | None = None
    anonymous: int | None = None
    heap: int | None = None
    goroutines: int | None = None
    threads: int | None = None
    files: int | None = None


class Memory:
    """Samples dockerds every ``every`` seconds, from :meth:`start` on.

    ``memory.growth(node, "anonymous", since=began, until=ended)`` is a slope in bytes/s.

    ``samples/memory.jsonl`` has the fields of :class:`Held`.
    """

    def __init__(self, trial: Trial, *, every: float = 2.0) -> None:
        self._nodes: list[Node] = []
        self._trial = trial
        self._every = every
        self._rows: list[Held] = []
        self._looks = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, nodes: Iterable[Node]) -> None:
        """Start sampling these nodes' dockerds; return when the first samples are taken."""
        if self._thread is not None:
            raise UsageError("the memory of dockerds is already being sampled")
        self._nodes = list(nodes)
        self._look()
        if self._nodes:
            self._stop.clear()
            self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)
            self._thread.start()

    def save(self) -> None:
        """Stop sampling and write the samples; write nothing if it never started."""
        if self._thread is not None:
            doubt_ended("memory", [self._thread], self._trial)
            self._stop.set()
            self._thread.join(timeout=30.0)
            self._thread = None
            self._trial.write_samples("memory", map(asdict, self._rows))

    def now(self, node: Node) -> Held:
        """Return all that a node's dockerd holds now; it is not kept among the samples."""
        return looked_into(held_by(node, self._trial.clock.now()), node)

    # -- asking about what was sampled ---------------------------------------------------------

    def rows(
        self, node: Node, since: Moment = float("-inf"), until: float = float("inf")
    ) -> list[Held]:
        """Return the samples of a node from ``since`` to ``until`` (trial seconds)."""
        began = trial_moment(since)
        return [r for r in list(self._rows) if r.node == node.name and began <= r.t < until]

    def growth(self, node: Node, quantity: str, *, since: Moment, until: float) -> Trend | None:
        """Return how a quantity grew per second once settled; None for too few samples.

        In bytes/s for sizes.
        """
        points = self._series(node, quantity, since, until)
        return trend_of([t for t, _ in points], [value for _, value in points])

    def level(self, node: Node, quantity: str, *, since: Moment, until: float) -> float | None:
        """Return the median of a quantity; None without samples."""
        values = [value for _, value in self._series(node, quantity, since, until)]
        return statistics.median(values) if values else None

    def peak(self, node: Node, quantity: str, *, since: Moment, until: float) -> float | None:
        """Return the largest value of a quantity; None without samples."""
        return max((v for _, v in self._series(node, quantity, since, until)), default=None)

    # -- within --------------------------------------------------------------------------------

    def _series(
        self, node: Node, quantity: str, since: Moment, until: float
    ) -> list[tuple[float, float]]:
        if quantity not in QUANTITIES:
            raise UsageError(
                f"{quantity!r} is not sampled", hint=f"give one of {', '.join(QUANTITIES)}"
            )
        rows = self.rows(node, since, until)
        values = ((row.t, getattr(row, quantity)) for row in rows)
        return [(t, float(value)) for t, value in values if value is not None]

    def _sample(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def _look(self) -> None:
        for node in self._nodes:
            held = held_by(node, self._trial.clock.now())
            self._rows.append(held if self._looks % _CLOSELY else looked_into(held, node))
        self._looks += 1


def held_by(node: Node, t: float) -> Held:
    """Return what the kernel says of a node's dockerd at little cost, with ``t`` as its time."""
    try:
        pid = node.dockerd.pid
        process = Path(f"/proc/{pid}")
        status = dict(_STATUS.findall((process / "status").read_text()))
        files = len(os.listdir(process / "fd"))  # noqa: PTH208 - names are all that is wanted
        return Held(
            t,
            node.name,
            pid,
            rss=int(status["VmRSS"]) << 10,
            anonymous=int(status["RssAnon"]) << 10,
            threads=int(status["Threads"]),
            files=files,
        )
    except (LabError, OSError, LookupError):  # it is off, or ends at this moment
        return Held(t, node.name, None)


def looked_into(held: Held, node: Node) -> Held:
    """Return the same with what costs more: all of a process's pages, and dockerd's metrics."""
    if held.pid is None:
        return held
    pss: int | None = None
    metrics: dict[str, float] = {}
    with suppress(OSError):
        found = _PSS.search(Path(f"/proc/{held.pid}/smaps_rollup").read_text())
        pss = int(found[1]) << 10 if found else None
    with suppress(OSError, http.client.HTTPException, LabError, ValueError):
        metrics = {name: float(value) for name, value in _METRIC.findall(node.metrics(timeout=2.0))}
    heap = metrics.get("go_memstats_heap_inuse_bytes")
    goroutines = metrics.get("go_goroutines")
    return replace(
        held,
        pss=pss,
        heap=None if heap is None else int(heap),
        goroutines=None if goroutines is None else int(goroutines),
    )
