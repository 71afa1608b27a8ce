"""The one exception tree of the harness, and what each branch means to a caller.

::

    HarnessError                 exit 2   something of ours or of the lab is in trouble
    |-- UsageError               exit 64  the caller asked for something that cannot be meant
    |-- MissingError             exit 2   this machine lacks something; says what and how to get it
    |-- ImageError               exit 2   a root file system or a workload image could not be had
    |-- EngineError              exit 2   an engine is not what it should be, or does not run here
    |-- LabError                 exit 2   nodes, fabric, processes
    |-- MicrovmError             exit 2   the guest: boot, freeze, thaw, payload, result
    |-- SwarmError               exit 2   the swarm could not be formed, asked or used
    |-- FaultError               exit 2   a fault could not be injected, proven or healed
    |-- LoadError                exit 2   the load generator itself failed
    |-- TrialError               exit 2   a record could not be written or read
    `-- WaitTimeout              exit 2   a state did not come within its deadline
        `-- ExpectationTimeout   exit 1   ... and the swarm under test owed it to a scenario

An expectation of a scenario that does not hold is not an error of the harness: it is
:class:`harness.trial.ExpectationFailed`, an ``AssertionError`` (exit 1).
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_EXPECTATION = 1
EXIT_TROUBLE = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Base of all that the harness raises on purpose.

    ``what`` says what was wrong and where, as a sentence; ``hint`` says what to do about it.
    Command lines print both and no traceback.
    """

    exit_code: ClassVar[int] = EXIT_TROUBLE

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.hint}" if self.hint else self.what


class UsageError(HarnessError):
    """The caller's words are off: an unknown name, a value out of range."""

    exit_code = EXIT_USAGE


class MissingError(HarnessError):
    """This machine lacks what was asked for (root, a kernel feature, a program)."""


class ImageError(HarnessError):
    """A root file system or workload image could not be built, verified or read."""


class EngineError(HarnessError):
    """An engine is not what its name says, or does not run here."""


class LabError(HarnessError):
    """Nodes, the fabric between them, or their processes."""


class MicrovmError(HarnessError):
    """The guest: boot, freeze, thaw, payload or result."""


class SwarmError(HarnessError):
    """The swarm could not be formed, asked or used."""


class FaultError(HarnessError):
    """A fault could not be injected, proven or healed."""


class LoadError(HarnessError):
    """The load generator itself failed; says nothing about the swarm."""


class TrialError(HarnessError):
    """A trial's record could not be written or read."""


class WaitTimeout(HarnessError):
    """A state did not come within its deadline; ``last`` is what was seen last."""

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
