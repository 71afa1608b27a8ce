"""When requests are due."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load import Stage, Timetable

RATES = st.floats(0.05, 100)
STAGES = st.lists(
    st.builds(Stage, st.floats(0.1, 50), st.integers(0, 12)), min_size=1, max_size=5
).filter(lambda stages: any(stage.users for stage in stages))


def all_slots(timetable: Timetable, until: float) -> list[float]:
    return sorted(s for user in range(timetable.users) for s in timetable.slots(user, until))


def test_users_are_spread_evenly_over_a_users_period() -> None:
    timetable = Timetable((Stage(1, 4),), 0.5)
    assert all_slots(timetable, 4) == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert list(timetable.slots(1, 6)) == [0.5, 2.5, 4.5]


def test_the_last_stage_goes_on() -> None:
    assert Timetable((Stage(1, 1),), 1).next_slot(0, 1e6) == 1e6 + 1


def test_stages_follow_each_other_each_spread_evenly() -> None:
    timetable = Timetable((Stage(2, 1), Stage(2, 4), Stage(2, 2)), 1)
    assert all_slots(timetable, 6) == [0, 1, 2, 2.25, 2.5, 2.75, 3, 3.25, 3.5, 3.75, 4, 4.5, 5, 5.5]


def test_a_user_that_is_not_wanted_any_more_has_no_next_slot() -> None:
    timetable = Timetable((Stage(2, 3), Stage(2, 1)), 1)
    assert timetable.next_slot(2, 1.9) is None
    assert timetable.next_slot(0, 1.9) == 2


def test_a_user_of_a_later_stage_waits_for_it() -> None:
    assert Timetable((Stage(7, 1), Stage(1, 2)), 1).next_slot(1, -1) == pytest.approx(7.5)


@given(STAGES, RATES, st.floats(0, 200))
def test_the_next_slot_is_later_and_no_slot_is_between(
    stages: list[Stage], rate: float, after: float
) -> None:
    timetable = Timetable(tuple(stages), rate)
    for user in range(timetable.users):
        slot = timetable.next_slot(user, after)
        if slot is None:
            continue
        assert slot > after
        # Asked from anywhere between, it is still the next one: slots do not depend on the asker.
        middle = (after + slot) / 2
        if middle < slot - 1e-5:
            assert timetable.next_slot(user, middle) == pytest.approx(slot)


@given(st.integers(1, 40), RATES)
def test_the_load_ticks_evenly(users: int, rate: float) -> None:
    slots = all_slots(Timetable((Stage(1, users),), rate), 3 / rate - 1e-6)
    assert len(slots) == 3 * users
    for earlier, later in pairwise(slots):
        assert later - earlier == pytest.approx(1 / rate / users, rel=1e-3)


@given(STAGES, RATES)
def test_a_user_never_has_two_slots_at_once(stages: list[Stage], rate: float) -> None:
    timetable = Timetable(tuple(stages), rate)
    for user in range(timetable.users):
        slots = list(timetable.slots(user, 5 / rate))
        assert max(Counter(slots).values(), default=1) == 1
        assert slots == sorted(slots)
