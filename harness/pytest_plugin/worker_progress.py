"""Lines of progress from pytest-xdist's workers to the one terminal, while their trials run.

A worker has no terminal: without this, `-n 2` is silent for as long as an engine is fetched, a
swarm is frozen and a trial runs.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.images import Say

_LONGEST = 4096  # bytes of a line
_PATIENCE = 1.0  # seconds a worker waits for a controller that does not read: its trial goes on


class ProgressReceiver:
    """The controller's end: shows what workers send through ``say``, each line once."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._folder = TemporaryDirectory(prefix="swarm-chaos-progress-")
        self.address = str(Path(self._folder.name, "lines"))
        """What a worker is given, for :func:`sender`."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._show, name="worker progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show what has arrived, and end."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(self.address)
            end.send(b"")
        self._thread.join()
        self._socket.close()
        self._folder.cleanup()

    def _show(self) -> None:
        while line := self._socket.recv(_LONGEST):
            self._say(line.decode(errors="replace"))


def sender(address: str, worker: str) -> Say:
    """Return a function that sends a line to the receiver at ``address``, said to be ``worker``'s.

    A line that cannot be sent is dropped: progress is worth no trial.
    """

    def say(text: str) -> None:
        for line in text.splitlines():
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.settimeout(_PATIENCE)
                end.connect(address)
                end.send(f"[{worker}] {line}".encode()[:_LONGEST])

    return say
