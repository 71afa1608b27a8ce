"""What of interest stands in a log that grows: each line is read once, however often one asks."""

from __future__ import annotations

import re
import threading
from pathlib import Path


class GrowingLog:
    """The matches of a pattern in the whole lines of a file, in the file's order.

    Waiting for a line means asking several times a second, and dockerd's log may have grown to
    half a megabyte by then. A file that was cut short is read again from its begin.
    """

    def __init__(self, path: Path, pattern: re.Pattern[str]) -> None:
        self._path = path
        self._pattern = pattern
        self._lock = threading.Lock()
        self._read_to = 0
        self._found: list[re.Match[str]] = []

    def matches(self) -> list[re.Match[str]]:
        """All that there are now; none of a file that cannot be read (yet)."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    if file.seek(0, 2) < self._read_to:
                        self._read_to, self._found = 0, []
                    file.seek(self._read_to)
                    new = file.read()
            except OSError:
                return list(self._found)
            whole = new[: new.rfind(b"\n") + 1]
            self._read_to += len(whole)
            self._found += self._pattern.finditer(whole.decode(errors="replace"))
            return list(self._found)
