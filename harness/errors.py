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
