"""Signals that end the harness: TERM and HUP do as Ctrl-C does, so faults are healed first.

By default either ends a process at once: nothing is written of what was complete, and what is
being written stays in pieces. Needs nothing but Python's own library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(KeyboardInterrupt):
    """The harness was asked to end. Whoever handles Ctrl-C handles it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        """As a shell has it for a process that a signal ended: 143 and 129."""


@contextmanager
def raised() -> Iterator[None]:
    """Raise :class:`EndedBySignal` in the main thread at the first TERM or HUP, while it lasts.

    What comes after the first is ignored: what it began, such as healing, is to come to its end.
    A signal that is ignored already (``nohup``) stays so, and one that has a handler keeps it. In
    another thread nothing can be set, and nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal ended
        if number == signal.SIGHUP:
            _hang_up()
        if not ended:
            ended = True
            raise EndedBySignal(number)

    free = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in free:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)


def _hang_up() -> None:
    """Let what is still written to a terminal go nowhere: it is closed, and writing would fail."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers are wanted
            with contextlib.suppress(OSError):
                number, leads_to = int(name), str(Path(f"/proc/self/fd/{name}").readlink())
                if leads_to.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
                    os.dup2(nowhere, number, inheritable=os.get_inheritable(number))
    finally:
        os.close(nowhere)
