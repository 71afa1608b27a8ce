"""Methods that make faults: ``loss = made_by(NetworkLoss)`` in a group of the fixture ``faults``.

A method takes what the fault's class takes after the trial, so its signature is that of the
class, for type checkers too. A parameter that the fault does not have is a :class:`UsageError`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from harness.errors import UsageError
from harness.faults.fault import Fault
from harness.trial import Trial

P = ParamSpec("P")
F = TypeVar("F", bound=Fault)


class OfTrial(Protocol):
    """What has a trial for which its faults are made."""

    @property
    def trial(self) -> Trial:
        """Return the trial."""
        ...


class made_by(Generic[P, F]):  # noqa: N801 - used like a decorator
    """A method that makes faults of one class for the trial of its group."""

    def __init__(self, kind: Callable[Concatenate[Trial, P], F]) -> None:
        self._kind = kind
        self.__doc__ = kind.__doc__

    def __get__(self, group: OfTrial, owner: type[Any]) -> Callable[P, F]:
        """Return the method of one group."""

        def make(*args: P.args, **kwargs: P.kwargs) -> F:
            require_fit(self._kind, group.trial, *args, **kwargs)
            return self._kind(group.trial, *args, **kwargs)

        return make


def require_fit(kind: Callable[..., Fault], *args: object, **kwargs: object) -> None:
    """Raise :class:`UsageError` when a class of faults cannot be called with these arguments."""
    signature = inspect.signature(kind)
    name = getattr(kind, "name", kind)
    _, *taken = signature.parameters  # without the trial
    hint = f"it takes: {', '.join(taken)}"
    if strange := [each for each in kwargs if each not in taken]:
        raise UsageError(f"the fault {name} has no parameter {', '.join(strange)}", hint=hint)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(f"{name}: {error}", hint=hint) from None
