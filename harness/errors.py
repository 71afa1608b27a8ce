"""The exception tree of the harness, with the exit code of each branch.

::

    HarnessError                 exit 2   the harness or the lab is in trouble
    |-- UsageError               exit 64  the caller gave a wrong name or value
    |-- MissingError             exit 2   this machine lacks something; the hint says how to get it
    |-- ImageError               exit 2   a root file system or a workload image is not available
    |-- EngineError              exit 2   an engine is not what its name says, or does not run here
    |-- LabError                 exit 2   nodes, the fabric between them, their processes
    |-- MicrovmError             exit 2   the guest: boot, freeze, thaw, payload, result
    |-- SwarmError               exit 2   the swarm could not be formed, asked or used
    |-- FaultError               exit 2   a fault could not be injected, proven or healed
    |-- LoadError                exit 2   the load generator itself failed
    |-- TrialError               exit 2   a record could not be written or read
    `-- WaitTimeout              exit 2   a state was not reached in time
        `-- ExpectationTimeout   exit 1   ... and the swarm under test owed it to a scenario

An expectation of a scenario that does not hold is not an error of the harness: it is
:class:`harness.trial.ExpectationFailed`, an ``AssertionError`` (exit 1). TERM and HUP become
:class:`EndedBySignal`, so that they end the harness as Ctrl-C does (exit 130) and not at once.
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
from typing import ClassVar

EXIT_OK = 0
EXIT_EXPECTATION = 1
EXIT_TROUBLE = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Base of all errors that the harness raises on purpose.

    ``what`` is a sentence that says what went wrong and where; ``hint`` says what to do about it.
    Commands print both, and no traceback::

        raise MissingError("nft is not installed", hint="apt-get install nftables")
    """

    exit_code: ClassVar[int] = EXIT_TROUBLE

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.hint}" if self.hint else self.what


class UsageError(HarnessError):
    """The caller gave an unknown name, or a value out of range."""

    exit_code = EXIT_USAGE


class MissingError(HarnessError):
    """This machine lacks what was asked for (root, a kernel feature, a program)."""


class ImageError(HarnessError):
    """A root file system or workload image could not be built, verified or read."""


class EngineError(HarnessError):
    """An engine is not what its name says, or does not run here."""


class LabError(HarnessError):
    """A node, the fabric between nodes, or one of their processes is in trouble."""


class MicrovmError(HarnessError):
    """A guest could not be booted, frozen or thawed, or its payload or result is wrong."""


class SwarmError(HarnessError):
    """The swarm could not be formed, asked or used."""


class FaultError(HarnessError):
    """A fault could not be injected, proven or healed."""


class LoadError(HarnessError):
    """The load generator itself failed, which says nothing about the swarm."""


class TrialError(HarnessError):
    """A trial's record could not be written or read."""


class WaitTimeout(HarnessError):
    """A state was not reached within its deadline; ``last`` is what was seen last."""

    def __init__(self, state: str, *, within: float, waited: float, last: str) -> None:
        super().__init__(
            f"waited {waited:.1f} s (deadline {within:g} s) for {state}; last seen: {last}"
        )
        self.state = state
        self.within = within
        self.waited = waited
        self.last = last


class ExpectationTimeout(WaitTimeout, AssertionError):
    """A state that a scenario may expect of the swarm did not come: the scenario has failed."""

    exit_code = EXIT_EXPECTATION


ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(KeyboardInterrupt):
    """The harness was asked to end. Whoever handles Ctrl-C handles it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        """As a shell has it for a process that a signal ended: 143 and 129."""


@contextmanager
def signals_raised() -> Iterator[None]:
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

    free = [number for number in ENDING_SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
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
