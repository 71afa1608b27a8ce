"""Each planted lie is caught, and the same trial is as expected without it."""

from __future__ import annotations

import pytest

from harness.bench.lies import LIES, Lie, told
from harness.trial import as_expected

CAUGHT_BY = {
    "repeated-sample": "",
    "repeated-log": "time to a new leader: more than ",
    "idle-fault": "left no evidence",
    "dropped-line": "lines lost: 1 lines",
    "fast-clock": "the trial's clock counted ",
    "delayed-answers": "slowest answer: ",
    "one-entry": "longest gap at m2: not measured",
    "dead-sampler": "the thread memory ended with ValueError: a line it cannot read",
    "silent-sampler": "the memory probe stopped early: its thread memory has ended",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_a_lie_is_caught_and_the_honest_trial_is_as_expected(lie: Lie) -> None:
    honest = told(lie, lying=False)
    assert as_expected(honest) is True, honest.reason
    lying = told(lie, lying=True)
    assert as_expected(lying) is not True
    assert CAUGHT_BY[lie.name] in lying.reason


def test_every_lie_of_the_list_is_planted() -> None:
    assert {lie.name for lie in LIES} == CAUGHT_BY.keys()
