"""What is read of a process, and what is asked of the samples."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from optionals import not_none
from stand_ins import stand_in

from harness.errors import LabError, UsageError
from harness.probes.memory import MIB, Memory, held_by, looked_into
from harness.trial import TrialClock


class Node:
    """This very process as a node's dockerd, or another."""

    name = "m1"

    def __init__(
        self,
        metrics: str | None = "go_goroutines 42\ngo_memstats_heap_inuse_bytes 1.5e+07\n",
        pid: int | None = None,
    ) -> None:
        self.dockerd = SimpleNamespace(pid=pid or os.getpid())
        self._metrics = metrics

    def metrics(self, timeout: float) -> str:
        if self._metrics is None:
            raise OSError("refused")
        return self._metrics


class Off(Node):
    @property  # type: ignore[override]
    def dockerd(self) -> None:
        raise LabError("m1 is switched off")

    @dockerd.setter
    def dockerd(self, value: SimpleNamespace) -> None:
        pass


class Trial:
    def __init__(self) -> None:
        self.clock = TrialClock()
        self.written: dict[str, Any] = {}

    def write_samples(self, name: str, rows: Iterator[Any]) -> None:
        self.written[name] = list(rows)


def test_a_process_is_read_whole() -> None:
    held = looked_into(held_by(stand_in(Node()), 3.0), stand_in(Node()))
    assert (held.t, held.node, held.pid) == (3.0, "m1", os.getpid())
    assert 5 * MIB < not_none(held.rss) < 10_000 * MIB
    assert 0 < not_none(held.anonymous) <= not_none(held.rss)
    assert 0 < not_none(held.pss) <= not_none(held.rss)
    assert (held.goroutines, held.heap) == (42, 15_000_000)
    assert not_none(held.threads) >= 1
    assert not_none(held.files) >= 3


#: In a process of its own: in this one, threads and files of other tests may still be on their way.
GROWING = """
import os, sys, threading
print("before", flush=True)
sys.stdin.readline()
files = [open(os.devnull) for _ in range(2)]
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("during", flush=True)
sys.stdin.readline()
"""


def test_open_files_and_threads_are_counted() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", GROWING], stdin=pipe, stdout=pipe) as process:
        node = stand_in(Node(pid=process.pid))
        assert not_none(process.stdout).readline() == b"before\n"
        before = held_by(node, 0.0)
        not_none(process.stdin).write(b"\n")
        not_none(process.stdin).flush()
        assert not_none(process.stdout).readline() == b"during\n"
        during = held_by(node, 1.0)
        process.kill()
    assert during.files == not_none(before.files) + 2
    assert during.threads == not_none(before.threads) + 1


def test_a_dockerd_that_does_not_answer_is_read_all_the_same() -> None:
    node: Any = Node(metrics=None)
    held = looked_into(held_by(node, 0.0), node)
    assert held.rss
    assert held.pss
    assert held.goroutines is held.heap is None


def test_a_node_that_is_off_holds_nothing() -> None:
    held = looked_into(held_by(stand_in(Off()), 1.0), stand_in(Off()))
    assert (held.pid, held.rss, held.files) == (None, None, None)


def test_samples_are_taken_written_and_asked_about() -> None:
    trial: Any = Trial()
    memory = Memory(trial, every=0.01)
    memory.start([stand_in(Node())])
    assert memory.rows(stand_in(Node()))
    with pytest.raises(UsageError, match="already"):
        memory.start([stand_in(Node())])
    while len(memory.rows(stand_in(Node()))) < 12:
        time.sleep(0.01)
    sampled = trial.clock.now()
    # Pages of its own: from the allocator they may be such as the process holds already.
    hoard = mmap.mmap(-1, 30 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    hoard.write(bytes(30 * MIB))
    grown = trial.clock.now()
    while len(memory.rows(stand_in(Node()), since=grown)) < 3:
        time.sleep(0.01)
    memory.save()
    memory.save()
    before = memory.level(stand_in(Node()), "anonymous", since=0, until=sampled)
    peak = memory.peak(stand_in(Node()), "anonymous", since=grown, until=1e9)
    assert not_none(peak) - not_none(before) > 20 * MIB
    hoard.close()
    assert not_none(memory.growth(stand_in(Node()), "rss", since=0, until=1e9)).samples >= 8
    assert memory.level(stand_in(Node()), "rss", since=1e9, until=2e9) is None
    assert memory.peak(stand_in(Node()), "rss", since=1e9, until=2e9) is None
    assert json.dumps(trial.written["memory"][0])
    assert [row["pss"] is not None for row in trial.written["memory"][:6]] == [
        number % 5 == 0 for number in range(6)
    ]
    with pytest.raises(UsageError, match="not sampled"):
        memory.level(stand_in(Node()), "luck", since=0, until=1)
