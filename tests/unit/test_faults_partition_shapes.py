"""Partition shapes do what their names promise, for every size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.faults.network import partition_shapes


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


def heard_by(name: str, everybody: Sequence[str], cut: frozenset[tuple[str, str]]) -> set[str]:
    """Whom a place hears, itself included."""
    return {other for other in everybody if (other, name) not in cut}


sizes = st.integers(min_value=3, max_value=30)


@given(sizes)
def test_halves_hear_themselves_and_differ_by_one_at_most(count: int) -> None:
    everybody = names(count)
    cut = partition_shapes.halves(everybody)
    worlds = {frozenset(heard_by(name, everybody, cut)) for name in everybody}
    small, large = sorted(worlds, key=len)
    assert small | large == set(everybody)
    assert not small & large
    assert len(large) - len(small) in (0, 1)


@given(sizes)
def test_a_bridge_has_one_place_that_hears_all_and_is_heard_by_all(count: int) -> None:
    everybody = names(count)
    cut = partition_shapes.bridge(everybody)
    middle = [name for name in everybody if heard_by(name, everybody, cut) == set(everybody)]
    assert len(middle) == 1
    assert all(middle[0] in heard_by(name, everybody, cut) for name in everybody)
    sides = {frozenset(heard_by(n, everybody, cut) - set(middle)) for n in everybody} - {
        frozenset(everybody) - set(middle)
    }
    assert len(sides) == 2
    assert sum(map(len, sides)) == count - 1


@given(sizes)
def test_in_a_ring_each_hears_a_majority_and_no_two_the_same(count: int) -> None:
    everybody = names(count)
    cut = partition_shapes.ring(everybody)
    worlds = [frozenset(heard_by(name, everybody, cut)) for name in everybody]
    assert len(set(worlds)) == count
    for name, world in zip(everybody, worlds, strict=True):
        assert name in world
        assert len(world) == count // 2 + 1


@given(st.lists(st.integers(min_value=1, max_value=5), min_size=2, max_size=5))
def test_groups_hear_themselves_alone_in_both_directions(counts: Sequence[int]) -> None:
    parts, at = [], 0
    for count in counts:
        parts.append(names(at + count)[at:])
        at += count
    everybody = names(at)
    cut = partition_shapes.groups(*parts)
    for part in parts:
        for name in part:
            assert heard_by(name, everybody, cut) == set(part)


@pytest.mark.parametrize(
    "make",
    [
        lambda: partition_shapes.groups(["a"]),
        lambda: partition_shapes.groups(["a"], []),
        lambda: partition_shapes.groups(["a", "b"], ["b", "c"]),
        lambda: partition_shapes.halves(["a"]),
        lambda: partition_shapes.bridge(["a", "b"]),
        lambda: partition_shapes.ring(["a", "b"]),
        lambda: partition_shapes.ring(["a", "b", "b"]),
    ],
)
def test_what_is_no_partition_is_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(UsageError):
        make()
