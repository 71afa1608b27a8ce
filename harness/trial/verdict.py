"""Verdicts: pass, fail or unknown, and how a trial gets one. Unknown is never green."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.trial.measure import Measure

Verdict = Literal["pass", "fail", "unknown"]


class ExpectationFailed(AssertionError):
    """The swarm did not do what the scenario expects of it; ``broken`` are the measures."""

    def __init__(self, broken: Sequence[Measure]) -> None:
        super().__init__("\n".join(f"expected otherwise: {m}" for m in broken))
        self.broken = tuple(broken)


class Inconclusive(Exception):
    """Nothing can be concluded: the lab broke, a fault left no evidence, too few samples."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = tuple(reasons)


def judge(
    error: BaseException | None, measures: Sequence[Measure], doubts: Sequence[str]
) -> tuple[Verdict, str]:
    """Return the verdict of a trial and its reason in a sentence.

    ``error`` is what the scenario's body raised; ``doubts`` are the reasons collected for not
    believing the trial. A doubt outranks a broken expectation: what a broken lab measured
    condemns nobody. An ``AssertionError`` is an expectation, also a wait of the scenario for a
    state that the swarm owes it (:class:`~harness.errors.ExpectationTimeout`); any other exception
    is trouble.
    """
    if isinstance(error, Inconclusive):
        return "unknown", "; ".join(error.reasons)
    if error is not None and not isinstance(error, AssertionError):
        return "unknown", f"{type(error).__name__}: {error}".splitlines()[0]
    if doubts:
        return "unknown", "; ".join(doubts)
    if broken := [m for m in measures if m.ok is False]:
        return "fail", "; ".join(str(m) for m in broken)
    if error is not None:
        return "fail", (str(error).splitlines() or ["an assertion failed"])[0]
    if undecided := [m for m in measures if m.value is None or (m.bound and m.ok is None)]:
        return "unknown", "; ".join(f"undecided: {m}" for m in undecided)
    return "pass", ""
