"""This side of the program that runs others on a machine (``onboard/runner.py``)."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from harness.errors import LabError

#: Seconds for an answer to come, besides those that its program may take.
_ON_THE_WAY = 30.0


class Ended(NamedTuple):
    """How a program ended; ``code`` None: it had to be ended, its time was up."""

    code: int | None
    stdout: bytes
    stderr: bytes


class Runner:
    """Puts requests to the runner behind a process, from any thread."""

    def __init__(self, process: subprocess.Popen[bytes], machine: str) -> None:
        self._process = process
        self._machine = machine
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Ended]] = {}
        self._lock = threading.Lock()
        self._lost = False
        self._reader = threading.Thread(target=self._read, name=f"run-{machine}", daemon=True)
        self._reader.start()

    def run(self, argv: Sequence[str], stdin: bytes | None, timeout: float | None) -> Ended:
        """Run a program there; :class:`LabError` when the connection is lost meanwhile."""
        answer: Future[Ended] = Future()
        number = next(self._numbers)
        request = {
            "id": number,
            "argv": list(argv),
            "stdin": None if stdin is None else base64.b64encode(stdin).decode(),
            "timeout": timeout,
        }
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            if self._lost:
                raise self._gone()
            self._waiting[number] = answer
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except OSError as error:
                del self._waiting[number]
                raise self._gone() from error
        try:
            return answer.result(None if timeout is None else timeout + _ON_THE_WAY)
        except TimeoutError as error:
            raise self._gone() from error

    def close(self) -> None:
        """End it; safe to call twice."""
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                answer = json.loads(line)
                ended = Ended(
                    answer["code"],
                    base64.b64decode(answer["stdout"]),
                    base64.b64decode(answer["stderr"]),
                )
                with self._lock:
                    waiting = self._waiting.pop(answer["id"], None)
                if waiting is not None:
                    waiting.set_result(ended)
        with self._lock:
            self._lost = True
            left, self._waiting = self._waiting, {}
        for waiting in left.values():
            waiting.set_exception(self._gone())

    def _gone(self) -> LabError:
        return LabError(f"the connection to machine {self._machine} is lost")
