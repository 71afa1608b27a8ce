"""Lines of progress from pytest-xdist's workers to the one terminal, while their trials run.

A worker has no terminal: without this, `-n 2` is silent for as long as an engine is fetched, a
swarm is frozen and a trial runs.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        with _short(self.address) as address:
            self._socket.bind(address)
        self._thread = threading.Thread(target=self._show, name="worker progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show what has arrived, and end."""
        with (
            _short(self.address) as address,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
        ):
            end.connect(address)
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
            with (
                suppress(OSError),
                _short(address) as short,
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
            ):
                end.settimeout(_PATIENCE)
                end.connect(short)
                end.send(f"[{worker}] {line}".encode()[:_LONGEST])

    return say


@contextmanager
def _short(address: str) -> Iterator[str]:
    """Give a name for a socket that fits into a socket's address, however long its path is.

    An address has room for 107 bytes, and TMPDIR may be longer than that.
    """
    path = Path(address)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
