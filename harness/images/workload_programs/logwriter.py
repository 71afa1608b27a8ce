"""Write numbered log lines at a steady rate, and measure how long a write was held up.

A line is ``seq=N t=MONOTONIC_SECONDS task=NAME xxxx``, LINE_BYTES long with its newline. Lines
that fell due during a stall are not made up for, they are counted as ``skipped``: a program under
a blocked log driver does less work, it does not do it later. ``GET :8001/stats`` tells the
counts and the stalls, the present one included.

Environment: LINES_PER_SECOND (10), LINE_BYTES (200), STREAM (stdout or stderr), TASK_NAME,
PORT (8001).
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable

from .httpd import Request, Response, Server, as_json, serve_until_told

_BURSTS_PER_SECOND = 20.0  # faster rates are written in bursts: waking up costs more than a line


class LogWriter:
    """Writes lines through ``write`` and keeps count; ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        task: str,
        rate: float,
        line_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate <= 0 or line_bytes < 1:
            raise ValueError("LINES_PER_SECOND and LINE_BYTES are to be above 0")
        self._write = write
        self._task = task
        self._rate = rate
        self._line_bytes = line_bytes
        self._clock = clock
        self._started = clock()
        self._due = 0  # lines that should have been written by now, made or skipped
        self._written = 0
        self._bytes = 0
        self._skipped = 0
        self._errors = 0
        self._longest = 0.0
        self._longest_ended: float | None = None
        self._writing_since: float | None = None

    @property
    def pause(self) -> float:
        """Seconds between two calls of :meth:`burst`."""
        return 1 / min(self._rate, _BURSTS_PER_SECOND)

    def burst(self) -> None:
        """Write the lines that are due."""
        per_burst = max(1, round(self._rate * self.pause))
        due = int((self._clock() - self._started) * self._rate) - self._due
        # two bursts late is a stall, not jitter
        self._skip(due - 2 * per_burst)
        for _ in range(min(due, 2 * per_burst)):
            self._due += 1
            self._line()

    def stats(self) -> dict[str, object]:
        """What was written, and the longest stall of a single write in seconds."""
        now = self._clock()
        since = self._writing_since
        current = now - since if since is not None else 0.0
        return {
            "task": self._task,
            "written": self._written,
            "bytes": self._bytes,
            "skipped": self._skipped,
            "errors": self._errors,
            "seconds": now - self._started,
            "now": now,
            "longest_stall": max(self._longest, current),
            "longest_stall_ended": self._longest_ended,
            "current_stall": current,
        }

    def _skip(self, lines: int) -> None:
        if lines > 0:
            self._skipped += lines
            self._due += lines

    def _line(self) -> None:
        began = self._clock()
        head = f"seq={self._written} t={began:.6f} task={self._task} ".encode()
        line = head.ljust(self._line_bytes - 1, b"x") + b"\n"
        self._writing_since = began
        try:
            self._write(line)
        except OSError:
            self._errors += 1
        else:
            self._written += 1
            self._bytes += len(line)
        ended = self._clock()
        self._writing_since = None
        if ended - began > self._longest:
            self._longest = ended - began
            self._longest_ended = ended


def main() -> int:
    """Write until told to stop; 64 when the environment makes no sense."""
    environment = os.environ
    streams = {"stdout": 1, "stderr": 2}
    try:
        stream = streams[environment.get("STREAM", "stdout")]
        writer = LogWriter(
            lambda line: _write_all(stream, line),
            task=environment.get("TASK_NAME") or socket.gethostname(),
            rate=float(environment.get("LINES_PER_SECOND", "10")),
            line_bytes=int(environment.get("LINE_BYTES", "200")),
        )
    except (KeyError, ValueError) as error:
        print(f"logwriter: bad environment: {error}", file=sys.stderr)
        return 64

    def write_forever() -> None:
        while True:
            writer.burst()
            time.sleep(writer.pause)

    def handle(request: Request) -> Response:
        if request.path not in ("/", "/stats"):
            return as_json({"error": f"no such path: {request.path}"}, 404)
        return as_json(writer.stats())

    server = Server(int(environment.get("PORT", "8001")), handle)
    threading.Thread(target=write_forever, daemon=True).start()
    serve_until_told(server)
    # a thread may hang in write(2): an ordinary exit would try to flush behind it
    os._exit(0)


def _write_all(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]


if __name__ == "__main__":
    sys.exit(main())
