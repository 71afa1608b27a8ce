"""A fault's parameters: fields of its class that carry unit, reader, bounds and default.

A parameter is stated once, where the fault's class is. The constructor, the methods of the
fixture ``faults``, the catalogue, the command line's ``name=value``, schedule files and
docs/faults.md all follow from it, so a share of 1.2 is refused with the same message wherever it
was written::

    class NetworkLoss(LinkFault):
        share: float = parameter(SOME, "the share of packets that is lost", kw_only=False)
        retries: int = parameter(COUNT, "how often", default="3")
        lost: int = state(0)  # not a parameter: what the fault itself keeps
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, dataclass_transform

from harness.errors import UsageError
from harness.faults.planes import Plane, plane_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_KEY = "parameter"


class ValueType(ABC, Generic[T_co]):
    """Values of one kind: how people write them, and which are valid."""

    unit: str = ""
    """The unit of the value in Python ("s", "B", "bit/s"; "1" for a share; "" if it has none)."""

    @abstractmethod
    def read(self, text: str) -> T_co:
        """Return the value that ``text`` means; :class:`UsageError` if it is not a valid one."""

    @abstractmethod
    def check(self, value: Any) -> T_co:
        """Return a value given in Python, normalized; :class:`UsageError` if it is not valid."""


# -- numbers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quantity(ValueType[T_co]):
    """A number, with a unit where it has one, within bounds (which are written like values)."""

    name: str
    noun: str
    units: Mapping[str, float]
    convert: Callable[[float], T_co]
    at_least: str
    at_most: str = ""
    unit: str = ""
    example: str = ""

    def between(self, at_least: str, at_most: str = "") -> Self:
        """Return the same with other bounds, both included; without ``at_most`` it is open."""
        return replace(self, at_least=at_least, at_most=at_most)

    def read(self, text: str) -> T_co:
        """Return the value of a text such as ``10%`` or ``200ms``."""
        hint = f"write {self.example}" if self.example else None
        try:
            return self._within(self._number(text))
        except ValueError:
            raise UsageError(f"{text!r} is {self._invalid}", hint=hint) from None

    def check(self, value: Any) -> T_co:
        """Return a number in :attr:`unit`, whole where it has to be."""
        try:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError  # noqa: TRY004, TRY301 - one message for all that is not valid
            return self._within(value)
        except ValueError:
            unit = "" if self.unit in ("", "1") else f" {self.unit}"
            raise UsageError(f"{value!r}{unit} is {self._invalid}") from None

    @property
    def _invalid(self) -> str:
        bounds = f"from {self.at_least} to {self.at_most}"
        if not self.at_most:
            bounds = f"of {self.at_least} or more"
        return f"not a valid {self.name}: give {self.noun} {bounds}"

    def _number(self, text: str) -> float:
        text = text.strip()
        for suffix in sorted(self.units, key=len, reverse=True):
            if text.endswith(suffix):
                return float(text.removesuffix(suffix)) * self.units[suffix]
        raise ValueError

    def _within(self, number: float) -> T_co:
        highest = self._number(self.at_most) if self.at_most else math.inf
        if not math.isfinite(number) or not self._number(self.at_least) <= number <= highest:
            raise ValueError
        return self.convert(number)


def _whole(number: float) -> int:
    if number != int(number):
        raise ValueError
    return int(number)


SHARE = Quantity[float](
    "share", "a number", {"": 1, "%": 0.01}, float, "0", "1", unit="1", example="0.1 or 10%"
)

SOME = SHARE.between("0.000001", "1")
"""A share above 0."""

DURATION = Quantity[float](
    "duration",
    "a duration",
    {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0},
    float,
    "0s",
    unit="s",
    example="200ms, 10s or 2m",
)

SIZE = Quantity[float](
    "size",
    "a size",
    {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30},
    int,
    "0B",
    unit="B",
    example="512KiB or 64MiB",
)

RATE = Quantity[float](
    "data rate",
    "a data rate",
    {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9},
    round,
    "8kbit",
    "10gbit",
    unit="bit/s",
    example="500kbit or 10mbit",
)

COUNT = Quantity[int]("count", "a whole number", {"": 1}, _whole, "1")

duration = DURATION.read
"""Read a duration with its unit (``200ms``, ``10s``, ``2m``), in seconds."""


# -- names -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named(ValueType[T_co]):
    """Something written as text that ``reader`` takes; in Python also as an object.

    ``is_one`` tells such an object from anything else.
    """

    reader: Callable[[str], T_co]
    is_one: Callable[[Any], bool] = lambda _: False

    def read(self, text: str) -> T_co:
        """Return what the text names."""
        return self.reader(text)

    def check(self, value: Any) -> T_co:
        """Return what the text names, or the object itself."""
        if isinstance(value, str):
            return self.reader(value)
        if self.is_one(value):
            found: T_co = value
            return found
        raise UsageError(f"{value!r} is not valid: give its name")


def _word(text: str) -> str:
    if not text or text != text.strip() or len(text.split()) != 1:
        raise UsageError(f"{text!r} is not a valid name: give one word")
    return text


NAME = Named[str](_word)
"""One word."""

PLANE = Named[str | Plane](plane_of, lambda value: isinstance(value, Plane))


def one_of(*choices: str) -> Named[str]:
    """Return the type of values that are one of ``choices``."""

    def read(text: str) -> str:
        if text not in choices:
            raise UsageError(f"{text!r} is not a valid choice: give one of {', '.join(choices)}")
        return text

    return Named(read)


class _Flags(ValueType[list[str]]):
    def read(self, text: str) -> list[str]:
        """Return the flags of a text like ``--debug --log-level=warn``."""
        try:
            flags = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{text!r} cannot be split into flags: {error}") from None
        return self.check(flags)

    def check(self, value: Any) -> list[str]:
        """Return flags given as a list."""
        if isinstance(value, str):
            raise UsageError(f"{value!r} is not a valid list of flags: give one string for each")
        for flag in value:
            if not flag.startswith("-"):
                raise UsageError(
                    f"{flag!r} is not a valid flag", hint="write each as one word: --name=value"
                )
        return list(value)


FLAGS = _Flags()
"""Flags of a program, each one word."""


# -- fields ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One parameter of a fault. ``default`` is written as people write it; None: required."""

    type: ValueType[Any]
    help: str
    default: str | None
    name: str = ""

    def default_value(self) -> Any:
        """Return what the default means, made for each call."""
        return self.type.read(self.default or "")


def parameter(
    type: ValueType[T],  # noqa: A002 - of a value
    help: str,  # noqa: A002 - as click calls it
    *,
    default: str | None = None,
    kw_only: bool = True,
) -> T:
    """Declare a parameter of a fault: required, or with a default as people write it."""
    stated = Parameter(type, help, default)
    return field(  # type: ignore[no-any-return,call-overload]
        kw_only=kw_only,
        metadata={_KEY: stated},
        **({} if default is None else {"default_factory": stated.default_value}),
    )


def target(*, kw_only: Literal[False]) -> Any:
    """Declare what a fault is made for: its trial, and the node, links, ... it acts on."""
    return field(kw_only=kw_only)


def state(default: Any = None, *, factory: Any = None, init: Literal[False] = False) -> Any:
    """Declare an attribute that is not given: what a fault itself keeps, and how it begins."""
    if factory is not None:
        return field(default_factory=factory, init=init)
    return field(default=default, init=init)


@dataclass_transform(
    eq_default=False, kw_only_default=True, field_specifiers=(parameter, target, state)
)
class Parametrized:
    """A class whose subclasses declare their parameters as fields."""

    name: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(eq=False, repr=False, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for each in parameters_of(type(self)):
            with_name = f"{self.name}: {each.name}"
            value = explained(with_name, each.type.check, getattr(self, each.name))
            setattr(self, each.name, value)


def parameters_of(kind: type[Any]) -> tuple[Parameter, ...]:
    """Return the parameters of a class of faults, in the order of their declaration."""
    return tuple(
        replace(each.metadata[_KEY], name=each.name)
        for each in _fields(kind)
        if _KEY in each.metadata
    )


def _fields(kind: type[Any]) -> Iterable[dataclasses.Field[Any]]:
    return dataclasses.fields(kind)


def explained(where: str, check: Callable[[Any], Any], value: object) -> Any:
    """Return ``check(value)``; a :class:`UsageError` of it says ``where`` the value was given."""
    try:
        return check(value)
    except UsageError as error:
        raise UsageError(f"{where}: {error.what}", hint=error.hint) from None
