"""Reading a guest's console while QEMU writes it.

The console is a plain file: a pipe could fill up, and a full pipe would be felt in the guest.
"""

from __future__ import annotations

import contextlib
from pathlib import Path


class Follower:
    """Hands out a growing file's lines, each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._part = b""

    def fresh(self) -> list[str]:
        """Return the complete lines that have come since the last call, without their line ends."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._position)
            piece = file.read()
            self._position += len(piece)
            *lines, self._part = (self._part + piece).split(b"\n")
            return [line.decode(errors="replace").rstrip("\r") for line in lines]
        return []


def follow(path: Path) -> Follower:
    """Follow the console file ``path``, which need not be there yet."""
    return Follower(path)


def tail(path: Path, lines: int = 30) -> str:
    """Return the last lines of a console file; empty if there is none."""
    with contextlib.suppress(OSError):
        text = path.read_bytes()[-65536:].decode(errors="replace").replace("\r", "")
        return "\n".join(text.strip().splitlines()[-lines:])
    return ""
