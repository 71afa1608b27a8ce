"""A log that grows, read once: dockerd appends to its log, and probes ask of it again and again."""

from __future__ import annotations

import re
import threading
from pathlib import Path


class NewLines:
    """What has been appended to a file since the last look, up to its last complete line."""

    def __init__(self, path: Path, *, read_to: int = 0) -> None:
        self._path = path
        self._read_to = read_to

    def take(self) -> str:
        """Return the new lines; "" if there are none, or the file cannot be read (yet)."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                new = file.read()
        except OSError:
            return ""
        complete = new[: new.rfind(b"\n") + 1]
        self._read_to += len(complete)
        return complete.decode(errors="replace")


class LogTail:
    """The matches of a pattern in a log's complete lines, in the log's order.

    Waiting for a line means asking several times a second, and dockerd's log may have grown to
    half a megabyte by then.
    """

    def __init__(self, path: Path, pattern: re.Pattern[str]) -> None:
        self._lines = NewLines(path)
        self._pattern = pattern
        self._lock = threading.Lock()
        self._found: list[re.Match[str]] = []

    def matches(self) -> list[re.Match[str]]:
        """Return all matches so far."""
        with self._lock:
            self._found += self._pattern.finditer(self._lines.take())
            return list(self._found)
