"""Statistics over requests, and the account of what was not sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LoadError, UsageError
from harness.load import LOSSES, OUTCOMES, Account, Request, Requests, Stage, Timetable, Unasked
from harness.load.traffic import account


def request(t: float, outcome: Any = "ok", **facts: Any) -> Request:
    told = {
        "took": 0.01,
        "code": 200 if outcome == "ok" else 0,
        "entry": "m1",
        "task": "",
        "node": "",
        "due": t,
        "user": 0,
        "load": 1,
        **facts,
    }
    return Request(t=t, outcome=outcome, **told)


REQUESTS = st.lists(
    st.builds(
        request,
        st.floats(0, 100),
        st.sampled_from(OUTCOMES),
        took=st.floats(0, 10),
        entry=st.sampled_from(["m1", "m2", "w1"]),
    ),
    max_size=30,
)


def test_shares_leave_out_what_the_swarm_never_saw() -> None:
    outcomes = ["ok", "ok", "5xx", "refused", "timeout", "client", "client"]
    seen = Requests(request(t, o) for t, o in enumerate(outcomes))
    assert seen.share_of_50x == 0.2
    assert seen.share_of_errors == 0.4
    assert seen.share("ok") == 0.4
    assert seen.share("ok", "5xx") == 0.6
    assert seen.outcomes == {"5xx": 1, "client": 2, "ok": 2, "refused": 1, "timeout": 1}


def test_what_users_lost_is_one_share_and_its_kinds_are_its_parts() -> None:
    kinds: list[Any] = ["5xx", "refused", "reset", "timeout", "unreachable", "4xx"]
    made = [request(t, kind) for t, kind in enumerate(kinds)]
    made += [request(7, "5xx", unresolved=True), request(8, "client"), request(9), request(10)]
    seen = Requests(made)
    assert seen.share_lost == pytest.approx(7 / 9)
    assert seen.losses == pytest.approx(dict.fromkeys(LOSSES, 1 / 9))


def test_a_fifth_refused_or_timed_out_is_lost_although_nothing_is_50x() -> None:
    seen = Requests(request(t, "ok" if t % 5 else "refused") for t in range(100))
    assert seen.share_of_50x == 0
    assert seen.share_lost == 0.2


@given(REQUESTS)
def test_every_loss_is_of_exactly_one_kind(made: list[Request]) -> None:
    lost = [r for r in made if r.outcome not in ("ok", "client")]
    assert all(sum(is_of_kind(r) for is_of_kind in LOSSES.values()) == 1 for r in lost)
    assert sum(Requests(made).losses.values()) == pytest.approx(Requests(made).share_lost or 0)


def slots(*unasked: float, entry: str = "m1") -> list[Unasked]:
    return [Unasked(t=t, entry=entry, user=0) for t in unasked]


def test_a_user_that_hangs_for_ten_seconds_lost_ten_seconds_and_one_request() -> None:
    hung = [request(t) for t in range(10)] + [request(10, "timeout", took=10.0)]
    seen = Requests(hung + [request(t) for t in range(20, 30)], slots(*range(11, 20)))
    assert seen.share_lost == pytest.approx(1 / 21)
    assert seen.share_unserved == pytest.approx(10 / 30)


def test_time_not_served_is_of_each_entry() -> None:
    well = [request(t, entry="m1") for t in range(10)]
    seen = Requests([*well, request(0, "timeout", entry="m2")], slots(*range(1, 10), entry="m2"))
    assert seen.unserved_by_entry() == {"m1": 0, "m2": 1}
    assert seen.window(5, 10).unserved_by_entry() == {"m1": 0, "m2": 1}
    assert seen.window(5, 10).gaps_by_entry() == {"m1": pytest.approx(1), "m2": 4}


def test_time_not_served_is_not_known_while_the_load_runs() -> None:
    with pytest.raises(LoadError, match="still running"):
        _ = Requests([request(0)]).share_unserved
    assert Requests([], []).share_unserved is None


def test_kinds_of_connections_are_told_apart() -> None:
    seen = Requests(
        [request(0), request(1, "refused", connection="new")],
        [Unasked(t=2, entry="m1", user=1, connection="new")],
    )
    assert (seen.over("kept").share_lost, seen.over("new").share_lost) == (0, 1)
    assert (seen.over("kept").share_unserved, seen.over("new").share_unserved) == (0, 1)
    assert seen.over("new").count == 1


@pytest.mark.parametrize("none", [[], [request(1, "client")]])
def test_nothing_seen_is_not_measured_and_not_zero(none: list[Request]) -> None:
    nothing = Requests(none)
    assert nothing.share_of_50x is None
    assert nothing.share_of_errors is None
    assert nothing.longest_gap() is None
    assert nothing.gaps_by_entry() == {}
    assert nothing.p50 is None


@given(REQUESTS)
def test_all_shares_make_a_whole(made: list[Request]) -> None:
    seen = Requests(made)
    shares = [seen.share(o) for o in OUTCOMES if o != "client"]
    if all(r.outcome == "client" for r in made):
        assert set(shares) == {None}
    else:
        assert sum(s for s in shares if s is not None) == pytest.approx(1)


def test_a_gap_is_from_success_to_success_as_they_come_in() -> None:
    seen = Requests(
        [
            request(0.0, took=0.5),
            request(1.0, "refused"),
            request(2.0, "5xx"),
            request(3.0, took=1.5),
            request(4.0, took=1.0),
        ]
    )
    assert seen.longest_gap() == pytest.approx(4.0)


def test_a_gap_may_begin_with_the_first_request_and_end_with_the_last() -> None:
    assert Requests([request(0, "refused"), request(9), request(10)]).longest_gap() == 9.01
    tail = Requests([request(0), request(1, "timeout", took=10.0)])
    assert tail.longest_gap() == pytest.approx(10.99)


def test_without_any_success_the_gap_is_all_the_time_watched() -> None:
    assert Requests([request(2, "reset"), request(5, "timeout", took=3.0)]).longest_gap() == 6


def test_one_dead_entry_is_a_gap_of_its_own_and_none_of_the_service() -> None:
    dead = [request(t, "refused", entry="m2", took=0.0) for t in range(11)]
    well = [request(t + 0.5, entry="m1", took=0.0) for t in range(11)]
    seen = Requests(dead + well)
    assert seen.gaps_by_entry() == {"m1": 1, "m2": 10}
    assert seen.longest_gap("m2") == 10
    assert seen.longest_gap() == 1


@given(REQUESTS)
def test_a_gap_is_never_longer_than_the_watch_nor_shorter_than_its_even_share(
    made: list[Request],
) -> None:
    seen = Requests(made)
    whole = seen.longest_gap()
    if whole is None:
        return
    asked = [r for r in made if r.outcome != "client"]
    watch = max(r.done for r in asked) - min(r.t for r in asked)
    assert 0 <= whole <= watch + 1e-9
    good = sum(r.outcome == "ok" for r in asked)
    assert whole >= watch / (good + 1) - 1e-9


@given(REQUESTS, st.randoms())
def test_the_order_lines_were_written_in_does_not_matter(made: list[Request], dice: Any) -> None:
    shuffled = list(made)
    dice.shuffle(shuffled)
    assert Requests(shuffled).gaps_by_entry() == Requests(made).gaps_by_entry()
    assert Requests(shuffled).p99 == Requests(made).p99


def test_a_window_takes_by_start_from_and_without_its_end() -> None:
    seen = Requests(request(t) for t in (1, 2, 3, 4))
    assert [r.t for r in seen.window(2, 4).all] == [2, 3]


def test_percentiles_are_of_successes_and_nearest_rank() -> None:
    seen = Requests(
        [request(t, took=t / 100) for t in range(1, 101)] + [request(0, "timeout", took=10.0)]
    )
    assert (seen.p50, seen.p99, seen.latency(100)) == (0.5, 0.99, 1.0)
    assert Requests([request(0, took=0.3)]).p99 == 0.3
    assert Requests(request(t, took=t) for t in (1.0, 2.0, 3.0)).p50 == 2
    with pytest.raises(UsageError):
        seen.latency(0)


ONE = Timetable((Stage(1, 1),), 1)


def test_all_sent_as_due() -> None:
    sent = [request(t) for t in range(5)]
    told = account(sent, ONE, begun=0, stopped=5)
    assert (told.scheduled, told.sent, told.blocked, told.unsent) == (5, 5, 0, 0)
    assert told.doubts() == []


def test_slots_passed_while_waiting_for_an_answer_are_the_swarms() -> None:
    sent = [request(0), request(1, "timeout", took=3.2), request(5)]
    told = account(sent, ONE, begun=0, stopped=5.5)
    assert (told.scheduled, told.sent, told.blocked, told.unsent) == (6, 3, 3, 0)
    assert told.doubts() == []


def test_slots_passed_while_free_are_the_generators() -> None:
    sent = [request(0), request(3.9, due=1.0), request(5)]
    told = account(sent, ONE, begun=0, stopped=5.5)
    assert (told.scheduled, told.sent, told.blocked, told.unsent) == (6, 3, 0, 3)
    assert told.latest == pytest.approx(2.9)
    assert "could not send 50.0% of its schedule" in told.doubts()[0]


def test_a_user_that_never_sent_is_all_unsent() -> None:
    two = Timetable((Stage(1, 2),), 1)
    told = account([request(t) for t in range(4)], two, begun=0, stopped=4)
    assert (told.sent, told.unsent) == (4, 4)


def test_a_slot_at_the_very_end_is_nobodys_fault() -> None:
    told = account([request(0)], ONE, begun=0, stopped=1.01)
    assert (told.scheduled, told.unsent) == (1, 0)
    late = account([request(0), request(1.0)], ONE, begun=0, stopped=1.01)
    assert (late.scheduled, late.sent) == (2, 2)


def test_an_account_may_be_of_a_part_of_the_load() -> None:
    sent = [request(t) for t in range(5)] + [request(9.9, due=5.0), request(10, "client")]
    whole = account(sent, ONE, begun=0, stopped=11, stalls=[3.0])
    assert (whole.scheduled, whole.unsent, whole.client) == (11, 4, 1)
    well = account(sent, ONE, begun=0, stopped=11, until=5)
    assert (well.scheduled, well.sent, well.unsent, well.client, well.latest) == (5, 5, 0, 0, 0)
    assert well.doubts() == []
    rest = account(sent, ONE, begun=0, stopped=11, since=5)
    assert (rest.scheduled, rest.unsent, rest.client) == (6, 4, 1)


def test_begun_moves_the_timetable() -> None:
    told = account([request(7.25 + t) for t in range(3)], ONE, begun=7.25, stopped=10.2)
    assert (told.sent, told.unsent) == (3, 0)


def test_trouble_in_the_client_counts_against_the_generator() -> None:
    sent = [request(t, "client" if t % 20 == 0 else "ok") for t in range(100)]
    told = account(sent, ONE, begun=0, stopped=100)
    assert told.client == 5
    assert told.share_unsent == 0.05
    assert len(told.doubts()) == 1


@pytest.mark.parametrize(("stall", "doubts"), [(0.9, 0), (1.0, 0), (1.1, 1)])
def test_a_long_stall_is_a_doubt(stall: float, doubts: int) -> None:
    told = account([request(0)], ONE, begun=0, stopped=0.5, stalls=[0.3, stall])
    assert len(told.doubts()) == doubts


def test_one_in_a_hundred_is_still_believed() -> None:
    def told(unsent: int) -> Account:
        return Account(
            scheduled=100,
            sent=100 - unsent,
            blocked=0,
            unsent=unsent,
            client=0,
            latest=0,
            longest_stall=0,
        )

    assert told(1).doubts() == []
    assert len(told(2).doubts()) == 1


@given(
    st.integers(1, 5),
    st.sampled_from([0.5, 1.0, 3.0, 20.0]),
    st.data(),
)
def test_a_prompt_generator_is_never_blamed(users: int, rate: float, data: st.DataObject) -> None:
    """Users that follow the timetable as ours do, before a server that takes what time it likes."""
    timetable = Timetable((Stage(1, users),), rate)
    begun, stopped, sent = 3.5, 3.5 + 12 / rate, []
    for user in range(users):
        slot = timetable.next_slot(user, -1)
        while slot is not None and begun + slot < stopped:
            took = data.draw(st.floats(0, 4 / rate))
            t = begun + slot
            sent.append(request(t, took=took, due=round(t, 6), user=user))
            slot = timetable.next_slot(user, max(slot, slot + took))
    told = account(sent, timetable, begun=begun, stopped=stopped)
    assert told.unsent == 0
    assert told.sent == len(sent)
    assert told.scheduled == told.sent + told.blocked
