"""A fault's parameters: names, units and bounds, read from people's words.

The catalogue, the schedule files, the command line and the reference page all take them from
here, so a rate of 1.2 is refused in the same words wherever it was written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|min|h)")
_DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(bit|kbit|mbit|gbit)")
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


def share(text: str) -> float:
    """A share of one, as ``0.1`` or ``10%``."""
    words = text.strip()
    try:
        value = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"{text!r} is no share", hint="write 0.1 or 10%") from None
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{text} is no share: it must be from 0 to 1 (0% to 100%)")
    return value


def duration(text: str) -> float:
    """A duration with its unit (``200ms``, ``10s``, ``2m``), in seconds."""
    return _with_unit(text, _DURATION, _DURATION_UNITS, "duration", "200ms, 10s or 2m")


def size(text: str) -> float:
    """A size with its unit (``64MiB``), in bytes."""
    return _with_unit(text, _SIZE, _SIZE_UNITS, "size", "512KiB or 64MiB")


def rate(text: str) -> float:
    """A data rate with its unit (``10mbit``), in bits a second."""
    return _with_unit(text, _RATE, _RATE_UNITS, "data rate", "500kbit or 10mbit")


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"{text!r} is no count", hint="write a whole number from 1 on")
    return int(text)


def number(text: str) -> int:
    """A whole number from 0 on."""
    if not text.strip().isdecimal():
        raise UsageError(f"{text!r} is no number", hint="write a whole number from 0 on")
    return int(text)


def word(text: str) -> str:
    """One word: a name."""
    if not text or text != text.strip() or len(text.split()) != 1:
        raise UsageError(f"{text!r} is no name: it must be one word")
    return text


def flags(text: str) -> list[str]:
    """Flags of a program, each one word (``--debug --log-level=warn``)."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r} are no flags: {error}") from None
    if strange := [each for each in words if not each.startswith("-")]:
        raise UsageError(f"{strange[0]!r} is no flag", hint="write each as one word: --name=value")
    return words


def choice(*words: str) -> Callable[[str], str]:
    """A reader that takes one of ``words``."""

    def read(text: str) -> str:
        if text not in words:
            raise UsageError(f"{text!r} is not known", hint=f"one of: {', '.join(words)}")
        return text

    return read


def _with_unit(
    text: str, pattern: re.Pattern[str], units: dict[str, Any], what: str, example: str
) -> float:
    if not (found := pattern.fullmatch(text.strip())):
        raise UsageError(f"{text!r} is no {what} with a unit", hint=f"write {example}")
    return float(found[1]) * float(units[found[2]])


@dataclass(frozen=True)
class Parameter:
    """One parameter of a fault: the keyword its class takes, and how people write it.

    ``unit`` is that of the value the class gets (seconds, bytes, bit/s, 1 for a share).
    ``default`` None: it must be given.
    """

    name: str
    read: Callable[[str], Any]
    unit: str
    help: str
    default: str | None = None
