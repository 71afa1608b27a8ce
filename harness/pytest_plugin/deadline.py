"""The end of a scenario's body that takes too long, in the process that runs it.

A guest has a supervisor that ends it, on its virtual clock; here it is an alarm in real seconds.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class DeadlinePassed(BaseException):
    """A trial took longer than it may. Not an ``Exception``: what retries must not swallow it."""


@contextmanager
def body_deadline(seconds: float) -> Iterator[None]:
    """Raise :class:`DeadlinePassed` in the main thread after so many seconds, once.

    It is raised at the end, too, if somebody in between has swallowed it. In another thread no
    alarm can be set, and nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    passed = False

    def alarm(_number: int, _frame: FrameType | None) -> None:
        nonlocal passed
        passed = True
        raise DeadlinePassed

    handler = signal.signal(signal.SIGALRM, alarm)
    timer = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)
    if passed:
        raise DeadlinePassed
