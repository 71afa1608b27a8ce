"""Who wrote to the shared file together with whom, and for how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.probes.shared_file import EVERY, Together, Write, together_in, writes_in

CLOCK: Any = SimpleNamespace(at=lambda monotonic: monotonic - 100.0)


def writing(task: str, began: float, ended: int) -> list[Write]:
    count = round((ended - began) / EVERY)
    return [Write(round(began + number * EVERY, 3), "w1", task) for number in range(count + 1)]


def together(*spans: list[Write]) -> list[Together]:
    return list(together_in(sorted((w for s in spans for w in s), key=lambda w: w.t)))


def test_lines_are_put_on_the_trials_clock_and_halves_left_out() -> None:
    text = "101.5 w1 a.1\n100.25 m1 b.1\n102.0 w1\nnonsense w1 a.1\n102."
    assert writes_in(text, CLOCK) == [Write(0.25, "m1", "b.1"), Write(1.5, "w1", "a.1")]


def test_two_writers_are_together_while_both_write() -> None:
    [stretch] = together(writing("a", 0, 10), writing("b", 6, 20))
    assert stretch.tasks == ("a", "b")
    assert (stretch.began, stretch.ended, stretch.seconds) == (6.0, 10.0, 4.0)


def test_one_after_the_other_is_not_together() -> None:
    assert together(writing("a", 0, 5), writing("b", 5.2, 9)) == []


def test_a_silence_ends_a_writer_and_three_are_more_than_two() -> None:
    a = writing("a", 0, 2) + writing("a", 6, 8)
    stretches = together(a, writing("b", 1, 7), writing("c", 6.5, 9))
    shown = [(s.tasks, s.began, s.ended) for s in stretches]
    assert shown == [
        (("a", "b"), 1.0, 2.0),
        (("a", "b"), 6.0, 6.5),
        (("a", "b", "c"), 6.5, 7.0),
        (("a", "c"), 7.0, 8.0),
    ]


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_the_overlap_is_that_of_two_intervals(
    first: int, long: int, second: int, longer: int
) -> None:
    a, b = (first, first + long), (second, second + longer)
    found = sum(s.seconds for s in together(writing("a", *a), writing("b", *b)))
    assert abs(found - max(0, min(a[1], b[1]) - max(a[0], b[0]))) < 1e-6
