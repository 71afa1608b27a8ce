"""Which ends of dockerd count as asked for, and what a dockerd that died says of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.engine import Engine
from harness.errors import LabError
from harness.lab.cgroups import NodeGroups
from harness.lab.dockerd import LocalDockerd, last_words, panics_in
from harness.lab.dockerd_ends import DockerdEnds

CRASH = (
    "time=x level=info msg=fine\n"
    "panic: runtime error: index out of range [1] with length 1\n"
    "\n"
    "goroutine 7 [running]:\n"
    "main.probe(...)\n"
)


class Pretended(LocalDockerd):
    """A program called dockerd that sleeps, a child of this process."""

    def __init__(self, folder: Path, ends: DockerdEnds) -> None:
        super().__init__(
            node="m1",
            init=os.getpid(),
            engine=cast("Engine", SimpleNamespace(version="26.1.5", path="/bin")),
            address="198.18.0.101",
            folder=folder,
            groups=cast("NodeGroups", None),
            ends=ends,
            environment={"PATH": "/bin"},
        )


@pytest.fixture
def ends() -> DockerdEnds:
    return DockerdEnds()


@pytest.fixture
def dockerd(
    tmp_path: Path, ends: DockerdEnds, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pretended]:
    """It is not running yet; ``start`` starts the program that pretends."""
    program = tmp_path / "dockerd"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    running: list[subprocess.Popen[bytes]] = []

    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[bytes]:
        running.append(subprocess.Popen([program, "60"]))
        while (Path("/proc") / str(running[-1].pid) / "comm").read_text() != "dockerd\n":
            pass
        return subprocess.CompletedProcess([], 0)

    class Nowhere:
        def leaves(self) -> list[Path]:
            return []

    made = Pretended(tmp_path, ends)
    made._groups = cast("NodeGroups", Nowhere())
    monkeypatch.setattr("harness.lab.dockerd.subprocess.run", run)
    yield made
    made.forget()
    for each in running:
        each.kill()
        each.wait()


def crash(dockerd: Pretended) -> None:
    """End it from outside, behind the harness's back."""
    os.kill(dockerd.pid, signal.SIGKILL)
    while dockerd.alive:
        pass


def test_what_is_asked_for_is_no_unasked_end(dockerd: Pretended, ends: DockerdEnds) -> None:
    dockerd.start()
    dockerd.stop()
    dockerd.start()
    dockerd.kill()
    dockerd.start()
    dockerd.end(signal.SIGABRT, 5.0)
    dockerd.start()
    dockerd.signal(signal.SIGTERM)
    while dockerd.alive:
        pass
    ends.found_dead()
    assert ends.unasked == []


def test_one_that_died_is_found_by_the_next_start(dockerd: Pretended, ends: DockerdEnds) -> None:
    dockerd.start()
    crash(dockerd)
    assert ends.unasked == []
    dockerd.start()
    assert len(ends.unasked) == 1
    dockerd.stop()
    dockerd.start()
    assert len(ends.unasked) == 1


def test_one_that_is_dead_already_is_not_ended_by_who_comes_later(
    dockerd: Pretended, ends: DockerdEnds
) -> None:
    dockerd.start()
    crash(dockerd)
    dockerd.stop()
    assert len(ends.unasked) == 1
    with pytest.raises(LabError, match="not running"):
        dockerd.kill()
    assert len(ends.unasked) == 1


def test_a_signal_that_does_not_end_it_asks_for_no_end(
    dockerd: Pretended, ends: DockerdEnds
) -> None:
    dockerd.start()
    dockerd.signal(signal.SIGCONT)
    crash(dockerd)
    ends.found_dead()
    assert len(ends.unasked) == 1


def test_one_that_was_never_started_did_not_die(ends: DockerdEnds) -> None:
    ends.found_dead()
    assert ends.unasked == []


def test_panics_are_lines_that_begin_with_it(tmp_path: Path) -> None:
    log = tmp_path / "dockerd.log"
    log.write_text("time=x msg='a panic: no'\nfatal error: all goroutines are asleep\n" + CRASH)
    first, second = panics_in(log)
    assert first == "fatal error: all goroutines are asleep"
    assert second.startswith("panic: runtime error: index out of range")
    assert panics_in(log, log.stat().st_size) == []
    assert panics_in(tmp_path / "none.log") == []


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (CRASH, "panic: runtime error: index out of range [1] with length 1"),
        ("a\nSIGABRT: abort\nPC=0x1\nrip 0x1\n", "SIGABRT: abort"),
        ("a\nb\nc\n", "b\n  c"),
        ("", "its log is empty"),
    ],
)
def test_last_words_are_of_the_cause(log: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "dockerd.log"
    path.write_text(log)
    assert last_words(path, lines=2) == words


def test_a_start_that_fails_says_what_of_and_not_the_logs_end(
    dockerd: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    dockerd.log.write_text("panic: of an earlier start\n")
    dockerd.start()
    with dockerd.log.open("a") as log:
        log.write(CRASH)
    crash(dockerd)
    monkeypatch.setattr("harness.lab.dockerd.Deadline.expired", True)
    with pytest.raises(LabError, match=r"ended while starting: panic: runtime error: index"):
        dockerd.wait_ready()
