"""netem's effects: checked, written as tc's arguments, and read back from the kernel.

tc and not a netlink library writes them: pyroute2 knows neither netem's loss models nor its
distributions and leaves them out silently. So they are always read back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from harness.errors import UsageError

#: Packets that may wait in one queue; netem's own 1000 would drop what a long delay holds back.
LIMIT = 100_000

#: The kernel keeps a probability in 32 bits, tc prints it with some digits.
_CLOSE = 1e-4

_LONGEST_DELAY = 60.0


@dataclass(frozen=True)
class Effect:
    """One effect; its fields are its parameters (seconds, shares)."""

    def arguments(self) -> str:
        """Return it as tc takes it."""
        raise NotImplementedError

    def expected(self) -> dict[str, dict[str, float]]:
        """Return what tc's JSON must say of it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Delay(Effect):
    """``delay`` on every packet, drawn around it with ``jitter`` as the width (both seconds)."""

    DISTRIBUTIONS: ClassVar[tuple[str, ...]] = ("normal", "uniform", "pareto", "paretonormal")

    delay: float
    jitter: float = 0.0
    distribution: str = "normal"

    def __post_init__(self) -> None:
        for value, what in ((self.delay, "delay"), (self.jitter, "jitter")):
            if not isinstance(value, int | float) or not 0.0 <= value <= _LONGEST_DELAY:
                raise UsageError(f"{value} s is not a valid {what}: give 0 s to 60 s")
        if not self.delay:
            raise UsageError("0 s is not a valid delay: give more than 0 s")
        if self.distribution not in self.DISTRIBUTIONS:
            raise UsageError(
                f"there is no distribution {self.distribution!r}",
                hint=f"one of: {', '.join(self.DISTRIBUTIONS)}",
            )

    def arguments(self) -> str:
        """Return ``delay 50000us 10000us distribution normal``; without one it is uniform."""
        arguments = f"delay {_micro(self.delay)}"
        if self.jitter:
            arguments += f" {_micro(self.jitter)}"
            if self.distribution != "uniform":
                arguments += f" distribution {self.distribution}"
        return arguments

    def expected(self) -> dict[str, dict[str, float]]:
        """Return delay and jitter; the distribution is a table in the kernel, and not reported."""
        return {"delay": {"delay": self.delay, "jitter": self.jitter}}


@dataclass(frozen=True)
class Loss(Effect):
    """Each packet is lost with the same probability, for itself."""

    loss: float

    def __post_init__(self) -> None:
        _check(self, least=1e-6)

    def arguments(self) -> str:
        """Return ``loss random 10%``."""
        return f"loss random {_percent(self.loss)}"

    def expected(self) -> dict[str, dict[str, float]]:
        """Return the same numbers."""
        return {"loss-random": {"loss": self.loss}}


@dataclass(frozen=True)
class Burst(Effect):
    """Gilbert-Elliott: from good to bad and back per packet, and the loss in each of the two."""

    to_bad: float
    to_good: float
    bad_loss: float = 1.0
    good_loss: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        if not self.to_bad or not self.to_good:
            raise UsageError(
                "to_bad and to_good must both be above 0: without them there are no bursts",
            )

    def arguments(self) -> str:
        """Return ``loss gemodel p r 1-h 1-k``."""
        numbers = (self.to_bad, self.to_good, self.bad_loss, self.good_loss)
        return f"loss gemodel {' '.join(map(_percent, numbers))}"

    def expected(self) -> dict[str, dict[str, float]]:
        """Return the same numbers."""
        return {
            "loss-gemodel": {
                "p": self.to_bad,
                "r": self.to_good,
                "1-h": self.bad_loss,
                "1-k": self.good_loss,
            }
        }


@dataclass(frozen=True)
class FourStates(Effect):
    """netem's Markov chain of four states; probabilities per packet."""

    p13: float
    p31: float = 1.0
    p32: float = 0.0
    p23: float = 1.0
    p14: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        if not self.p13 and not self.p14:
            raise UsageError("with p13 and p14 both 0 nothing is ever lost: give one above 0")

    def arguments(self) -> str:
        """Return ``loss state p13 p31 p32 p23 p14``."""
        numbers = (self.p13, self.p31, self.p32, self.p23, self.p14)
        return f"loss state {' '.join(map(_percent, numbers))}"

    def expected(self) -> dict[str, dict[str, float]]:
        """Return the same numbers."""
        return {"loss-state": asdict(self)}


@dataclass(frozen=True)
class Duplicate(Effect):
    """A share of the packets is sent twice."""

    duplicate: float

    def __post_init__(self) -> None:
        _check(self, least=1e-6)

    def arguments(self) -> str:
        """Return ``duplicate 20%``."""
        return f"duplicate {_percent(self.duplicate)}"

    def expected(self) -> dict[str, dict[str, float]]:
        """Return the same numbers."""
        return {"duplicate": asdict(self)}


@dataclass(frozen=True)
class Corrupt(Effect):
    """A share of the packets has one bit flipped."""

    corrupt: float

    def __post_init__(self) -> None:
        _check(self, least=1e-6)

    def arguments(self) -> str:
        """Return ``corrupt 5%``."""
        return f"corrupt {_percent(self.corrupt)}"

    def expected(self) -> dict[str, dict[str, float]]:
        """Return the same numbers."""
        return {"corrupt": asdict(self)}


@dataclass(frozen=True)
class Reorder(Effect):
    """A share of the packets is not delayed; it takes a delay for the others."""

    reorder: float

    def __post_init__(self) -> None:
        _check(self, least=1e-6)

    def arguments(self) -> str:
        """Return ``reorder 25%``."""
        return f"reorder {_percent(self.reorder)}"

    def expected(self) -> dict[str, dict[str, float]]:
        """Return the same numbers."""
        return {"reorder": asdict(self)}


def netem(effects: Sequence[Effect]) -> str:
    """Return the qdisc, as tc's arguments; :class:`UsageError` for effects that exclude others."""
    kinds = [type(effect) for effect in effects]
    if len(set(kinds)) != len(kinds):
        raise UsageError("an effect is given twice")
    if sum(issubclass(kind, Loss | Burst | FourStates) for kind in kinds) > 1:
        raise UsageError("packets can be lost by one model only")
    if Reorder in kinds and Delay not in kinds:
        raise UsageError("reordering needs delayed packets", hint="give a delay, too")
    return f"netem limit {LIMIT} {' '.join(effect.arguments() for effect in effects)}"


def read_back(effects: Iterable[Effect], options: dict[str, Any]) -> str:
    """Return which of netem's options is not as the effects have it; "" if they all are."""
    for effect in effects:
        for group, values in effect.expected().items():
            found = options.get(group)
            if not isinstance(found, dict):
                return f"it has no {group}"
            for name, value in values.items():
                if not math.isclose(found.get(name, 0.0), value, rel_tol=1e-3, abs_tol=_CLOSE):
                    return f"its {group} has {name} {found.get(name)} and not {value:g}"
    return ""


def _check(effect: Effect, least: float = 0.0) -> None:
    for name, value in asdict(effect).items():
        if not isinstance(value, int | float) or not least <= value <= 1.0:
            raise UsageError(f"{value!r} is not a valid {name}: give a number from {least:g} to 1")


def _percent(share: float) -> str:
    return f"{share * 100:.6f}%"


def _micro(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"
