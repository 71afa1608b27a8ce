"""What `--controls` brings: with `-k NAME` the controls of what NAME chooses, or a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Scenario = Callable[..., Any]

TEXT = """
TOLD = Expectation('told', unit='s', at_most=2, control='test_control_told')
LOST = Expectation('lost', unit='s', at_most=2, control='test_control_lost')


def told(measure):
    measure(TOLD, 1)


def test_slash_30(lab, measure):
    told(measure)


def test_full(lab, measure):
    measure(LOST, 1)


@pytest.mark.control
def test_control_told(lab, measure):
    measure(TOLD, 3)


@pytest.mark.control
def test_control_lost(lab, measure):
    measure(LOST, 3)
"""


def names(ran: Any) -> list[str]:
    return sorted(record["inputs"]["scenario"].rpartition("::")[2] for record in ran.records())


def test_a_name_comes_with_the_controls_of_what_it_measures(scenario: Scenario) -> None:
    ran = scenario(TEXT, "-k", "slash_30", "--controls")
    assert (ran.code, names(ran)) == (0, ["test_control_told", "test_slash_30"]), ran.out
    assert ran.counted() == {"passed": 2, "deselected": 2}


def test_without_the_option_it_comes_alone(scenario: Scenario) -> None:
    assert names(scenario(TEXT, "-k", "slash_30")) == ["test_slash_30"]


def test_a_control_that_is_named_itself_brings_nothing(scenario: Scenario) -> None:
    assert names(scenario(TEXT, "-k", "control_lost", "--controls")) == ["test_control_lost"]


def test_what_brings_none_says_so(scenario: Scenario) -> None:
    ran = scenario(TEXT, "test_it.py::test_slash_30", "--controls")
    assert names(ran) == ["test_slash_30"]
    assert "--controls: none of what was chosen is a control" in ran.out
