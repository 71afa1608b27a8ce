"""Parts of the scenarios for several machines: together all of them, and none twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.pytest_plugin.shards import Shard, assign, costs_of

THREE = """
@pytest.mark.parametrize("x", "abc")
def test_x(x, lab, measure):
    measure(KEPT, 1)

def test_other(lab, measure):
    measure(KEPT, 1)
"""


@given(st.lists(st.floats(0.1, 900), max_size=40), st.integers(1, 7))
def test_every_item_is_in_one_part_and_none_is_overloaded(costs: list[float], parts: int) -> None:
    found = assign(costs, parts)
    assert set(found) <= set(range(1, parts + 1))
    loads = [sum(c for c, p in zip(costs, found, strict=True) if p == part + 1)
             for part in range(parts)]  # fmt: skip
    # The dearest first: no part has more than the mean and one item besides.
    assert max(loads) <= sum(costs) / parts + max(costs, default=0) + 1e-6


def test_what_was_never_timed_costs_what_others_do() -> None:
    assert costs_of(["a", "new", "b"], {"a": 10.0, "b": 30.0}) == [10.0, 20.0, 30.0]
    assert costs_of(["a", "b"], {}) == [1.0, 1.0]


@pytest.mark.parametrize("written", ["", "3", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3"])
def test_what_is_no_part_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="not a part of a whole"):
        Shard.parse(written)


def test_parts_are_all_there_is(scenario: Callable[..., Any]) -> None:
    ran = [
        [record["inputs"]["scenario"] for record in scenario(THREE, f"--shard={n}/2").records()]
        for n in (1, 2)
    ]
    assert sorted(ran[0] + ran[1]) == [
        *("test_it.py::test_other", "test_it.py::test_x[a]"),
        *("test_it.py::test_x[b]", "test_it.py::test_x[c]"),
    ]
    assert len(ran[0]) == len(ran[1]) == 2


def test_a_choice_is_made_before_its_parts(scenario: Callable[..., Any]) -> None:
    ran = scenario(THREE, "--shard=1/2", "-k", "test_x")
    assert ran.counted() == {"passed": 2, "deselected": 2}


def test_a_part_that_cannot_be_meant_ends_the_run_before_it_begins(
    scenario: Callable[..., Any],
) -> None:
    for args, said in [
        (["--shard=3/2"], "not a part of a whole"),
        (["--shard-times=x"], "without --shard"),
        (["--shard=1/2", "--shard-times=nowhere"], "nowhere"),
    ]:
        ran = scenario(THREE, *args)
        assert ran.code in (2, 64), ran.out
        assert said in ran.out + ran.err
        assert "Traceback" not in ran.out + ran.err
        assert not (ran.folder / "reports").exists()
