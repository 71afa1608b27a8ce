"""The person's terminal: raw while the guest has it, and as it was afterwards, whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import termios
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

ESCAPE = b"\x1d"
"""Ctrl-]: telnet's way out, which no shell needs."""

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Terminal:
    """What the guest has to know of a terminal: its type as in ``$TERM``, and its size."""

    type: str
    rows: int
    columns: int

    @classmethod
    def here(cls) -> Terminal:
        """Return the terminal this process runs in."""
        size = shutil.get_terminal_size()
        return cls(os.environ.get("TERM", ""), size.lines, size.columns)


@contextlib.contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Have the terminal pass every key on; restore it at the end, also at SIGTERM and SIGHUP."""
    before = termios.tcgetattr(descriptor)
    handlers = {number: signal.signal(number, _leave) for number in _ENDING}
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def pump(line: socket.socket, keys: int, screen: int) -> bool:
    """Keys to the guest, and what it says to the screen, until one of them ends.

    True when the guest ended, False when the person left by :data:`ESCAPE` or the terminal went
    away. ``keys`` and ``screen`` are descriptors.
    """
    while True:
        ready, _, _ = select.select([line.fileno(), keys], [], [])
        if line.fileno() in ready:
            said = line.recv(65536)
            if not said:
                return True
            write_all(screen, said)
        if keys in ready:
            typed = os.read(keys, 4096)
            before, escaped, _ = typed.partition(ESCAPE)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # seen as its end
                line.sendall(before)
            if escaped or not typed:
                return False


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it, however little is taken at a time."""
    while content:
        content = content[os.write(descriptor, content) :]
