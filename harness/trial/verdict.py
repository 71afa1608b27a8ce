"""Verdicts: pass, fail or unknown, and how a trial gets one. Unknown is never green."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.errors import EngineError, FaultError, LabError, LoadError, MicrovmError
from harness.trial.measure import Measure
from harness.trial.oracles import of_the_scenario

Verdict = Literal["pass", "fail", "unknown"]

#: The tools of the trial are in trouble: what was measured with them proves nothing.
_BROKEN_TOOLS = (LabError, FaultError, LoadError, MicrovmError, EngineError)


class ExpectationFailed(AssertionError):
    """The swarm did not do what the scenario expects of it; ``broken`` are the measures.

    ``afterwards`` is what the scenario's body raised after them, "" if nothing.
    """

    def __init__(self, broken: Sequence[Measure], afterwards: str = "") -> None:
        lines = [f"expected otherwise: {m}" for m in broken]
        super().__init__("\n".join([*lines, *([f"then {afterwards}"] if afterwards else [])]))
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
    believing the trial. A doubt, or trouble of the lab, outranks a broken expectation: what a
    broken lab measured condemns nobody. A broken expectation outranks whatever else was raised
    after it. An ``AssertionError`` is an expectation, also a wait of the scenario for a state that
    the swarm owes it (:class:`~harness.errors.ExpectationTimeout`); any other exception is trouble.
    A trial whose scenario held nothing against a bound says nothing.
    """
    if isinstance(error, Inconclusive):
        return "unknown", "; ".join([*error.reasons, *doubts])
    if isinstance(error, _BROKEN_TOOLS):
        return "unknown", "; ".join([said(error), *doubts])
    if doubts:
        return "unknown", "; ".join(doubts)
    if broken := [m for m in measures if m.ok is False]:
        afterwards = [f"then {said(error)}"] if error is not None else []
        return "fail", "; ".join([*map(str, broken), *afterwards])
    if error is not None:
        return "fail" if isinstance(error, AssertionError) else "unknown", said(error)
    if undecided := [m for m in measures if m.value is None or _undecided(m)]:
        return "unknown", "; ".join(f"undecided: {m}" for m in undecided)
    if not any(m.bound for m in of_the_scenario(measures)):
        return "unknown", "nothing was held against a bound"
    return "pass", ""


def unanswered(error: BaseException | None, measures: Sequence[Measure]) -> str:
    """Return which questions of a trial were left without an answer, "" if none was.

    Those are what its body raised, for the rest of it did not run, and the measures that could
    not be held against their bounds.
    """
    raised = [said(error)] if error is not None else []
    return "; ".join([*raised, *(f"undecided: {m}" for m in measures if _undecided(m))])


def said(error: BaseException) -> str:
    """Return an exception as one line; an assertion is what it asserts."""
    if isinstance(error, AssertionError):
        return (str(error).splitlines() or ["an assertion failed"])[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _undecided(measure: Measure) -> bool:
    return measure.bound is not None and measure.ok is None
