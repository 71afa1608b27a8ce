"""A server's program as a child process on a client host: started, commanded, ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import harness
from harness.errors import LabError
from harness.lab import ClientHost

#: Seconds until a program answers its first or any other command. Starting Python takes 0.1 s on a
#: host and some seconds in an emulated guest that has a swarm to run as well.
ANSWER_WITHIN = 60.0


class ServerProcess:
    """A module of :mod:`harness.services.servers`, run on ``host``; it logs to the file ``log``."""

    def __init__(self, host: ClientHost, module: str, settings: dict[str, Any], log: Path) -> None:
        self._name = f"{module.rpartition('.')[2]} on {host.name}"
        self._log = log
        self._lock = threading.Lock()
        above = str(Path(harness.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH")]))
        with log.open("ab") as words:
            self._process = host.popen(
                [sys.executable, "-P", "-m", module, json.dumps(settings)],
                stdin=subprocess.PIPE,  # held open; its end tells the child that we are dead
                stdout=subprocess.PIPE,
                stderr=words,
                env={**os.environ, "PYTHONPATH": path},
            )
        self._rest = b""
        try:
            self.first = self._answer()
        except LabError:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self._process.poll() is None

    def command(self, do: str, **facts: Any) -> dict[str, Any]:
        """Send a command and return its answer; :class:`LabError` when it is refused."""
        with self._lock:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps({"do": do, **facts}).encode() + b"\n")
                self._process.stdin.flush()
            except OSError as error:
                raise LabError(f"{self._name} has ended: {self._log_tail()}") from error
            return self._answer()

    def close(self) -> None:
        """Stop the program; safe to call twice."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            readable, _, _ = select.select([out], [], [], ANSWER_WITHIN)
            if not readable:
                raise LabError(f"{self._name} has not answered within {ANSWER_WITHIN:g} s")
            piece = os.read(out, 65536)
            if not piece:
                raise LabError(f"{self._name} has ended: {self._log_tail()}")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LabError(f"{self._name}: {answer['error']}")
        return answer

    def _log_tail(self) -> str:
        try:
            said = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            said = []
        return said[-1] if said else "its log is empty"
