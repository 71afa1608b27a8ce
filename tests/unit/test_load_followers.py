"""Streams of numbered lines: what was left out, however the bytes are cut, and who ended them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bare_trials import bare_trial
from hypothesis import given
from hypothesis import strategies as some
from optionals import not_none

from harness.load.followers import Followers, Stream, read_logs
from harness.trial import Trial
from harness.wait import NotYet, wait_for


def line(number: int, task: str = "writer.1.abc") -> bytes:
    header = b"\x01\x00\x00\x00\x00\x00\x00\x40"
    return header + b"seq=%d t=1.5 task=%s xxxx\n" % (number, task.encode())


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(each % (len(data) + 1) for each in at)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(some.lists(some.integers(0, 40), min_size=1, unique=True), some.lists(some.integers(0)))
def test_what_is_left_out_is_counted_whatever_the_pieces(numbers: list[int], at: list[int]) -> None:
    numbers.sort()
    stream = Stream(0.0)
    for piece in cut(b"".join(map(line, numbers)), at):
        stream.take(piece)
    lines = stream.lines["writer.1.abc"]
    assert (lines.count, lines.last) == (len(numbers), numbers[-1])
    assert lines.missing == numbers[-1] - numbers[0] + 1 - len(numbers)


def test_tasks_are_counted_apart() -> None:
    stream = Stream(0.0)
    stream.take(line(3) + line(7, "writer.2.def") + line(4) + line(9, "writer.2.def"))
    assert {task: lines.missing for task, lines in stream.lines.items()} == {
        "writer.1.abc": 0,
        "writer.2.def": 1,
    }


@given(some.binary(max_size=200))
def test_any_bytes_are_taken(data: bytes) -> None:
    stream = Stream(0.0)
    stream.take(data)
    assert stream.received == len(data)


class Engine:
    """Answers every request on a unix socket with the same lines, and then as told."""

    def __init__(
        self, socket_path: Path, *, lines: int, ends: bool, last: bytes = b"0\r\n\r\n"
    ) -> None:
        self._last = last
        self._lines = lines
        self._ends = ends
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path))
        self._listener.listen(20)
        self._done = threading.Event()
        self.dockerd = SimpleNamespace(socket=socket_path)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        with taken, suppress(OSError):
            taken.recv(4096)
            taken.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in range(self._lines):
                data = line(number)
                taken.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            if self._ends:
                taken.sendall(self._last)
            else:
                self._done.wait(60.0)

    def close(self) -> None:
        self._done.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def open_trial(tmp_path: Path) -> Iterator[Trial]:
    trial = bare_trial(tmp_path / "trial")
    yield trial
    trial.finish(None)
    assert trial.doubts == []


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Any]:
    """An engine that says three lines, and then nothing."""
    engine = Engine(tmp_path / "s", lines=3, ends=False)
    yield engine
    engine.close()


@pytest.fixture
def ending(tmp_path: Path) -> Iterator[Any]:
    """An engine that says three lines and ends."""
    engine = Engine(tmp_path / "e", lines=3, ends=True)
    yield engine
    engine.close()


@pytest.fixture
def cut_off(tmp_path: Path) -> Iterator[Any]:
    """An engine that says three lines, and its connection breaks."""
    engine = Engine(tmp_path / "c", lines=3, ends=True, last=b"")
    yield engine
    engine.close()


def until(state: str, followers: Followers, number: int, how: str) -> None:
    def there() -> bool | NotYet:
        found = sum(each.how == how for each in followers.streams)
        return found >= number or NotYet(f"{found} are {how}")

    wait_for(there, state=state, within=10.0, every=0.02)


def test_followers_that_are_abandoned_are_followed_by_others(
    silent: Any, open_trial: Trial
) -> None:
    with Followers(silent, "/events", open_trial, count=2, lives=0.2) as followers:
        followers.wait_heard()
        until("four to be abandoned", followers, 4, "abandoned")
    assert {each.how for each in followers.streams} == {"abandoned"}
    assert (followers.ended, followers.missing) == (0, 0)


def test_what_the_engine_ends_is_told_from_silence(
    ending: Any, silent: Any, open_trial: Trial
) -> None:
    with Followers(ending, "/events", open_trial, count=2, name="ending") as ended:
        until("both to end", ended, 2, "ended")
        assert ended.longest_silence() is None, "nobody is there to be silent"
    with Followers(silent, "/events", open_trial, name="silent") as hangs:
        hangs.wait_heard()
        wait_for(
            lambda: not_none(hangs.longest_silence()) > 0.3 or NotYet("not yet"),
            state="a silence",
            within=10.0,
            every=0.05,
        )
    assert (ended.ended, hangs.ended) == (2, 0)


@pytest.mark.parametrize(
    ("tasks", "outcome", "without"),
    [(["abc"], "complete", ()), (["abc", "def"], "ended", ("def on w1",))],
)
def test_logs_are_complete_with_lines_of_every_task(
    ending: Any, tasks: list[str], outcome: str, without: tuple[str, ...]
) -> None:
    found = read_logs(ending, deployed(tasks), "writer", within=5.0)
    assert (found.outcome, found.without) == (outcome, without)


def test_logs_that_are_cut_off_are_not_complete(cut_off: Any) -> None:
    assert read_logs(cut_off, deployed(["abc"]), "writer", within=5.0).outcome == "ended"


def test_logs_without_an_end_hang(silent: Any) -> None:
    assert read_logs(silent, deployed(["abc"]), "writer", within=0.3).outcome == "hangs"


def test_nobody_there_is_refused(tmp_path: Path) -> None:
    nobody: Any = SimpleNamespace(dockerd=SimpleNamespace(socket=tmp_path / "none"))
    assert read_logs(nobody, deployed(["abc"]), "writer", within=0.3).outcome == "refused"


def deployed(tasks: list[str]) -> Any:
    running = [SimpleNamespace(id=id_, node="w1", running=True) for id_ in tasks]
    return SimpleNamespace(services={"writer": "id"}, tasks=lambda _: running)
