"""The arithmetic of stale and missing addresses, and of outages and twins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.probes.containers import Life
from harness.probes.reachability import alone_in, listeners_in, outages_in
from harness.probes.sampling.http_prober import Attempt, Cell, head_of
from harness.probes.sampling.staleness import (
    LEAVING,
    Stretch,
    Truth,
    View,
    missing,
    most_at_once,
    stale,
    wrong_now,
)
from harness.probes.tasks import fewest_serving, time_of, twins_in

A, B = "10.0.1.2", "10.0.1.3"
TICK = 0.1


def views(*told: list[str] | None, every: float = TICK) -> list[View]:
    """Views of a place that is asked every ``every`` seconds: one entry for each answer."""
    found: list[Any] = []
    for number, what in enumerate(told):
        t = round(number * every, 6)
        blind, addresses = what is None, frozenset() if what is None else frozenset(what)
        if found and (found[-1].addresses, found[-1].blind) == (addresses, blind):
            found[-1] = View(found[-1].first, t, addresses, blind=blind)
        else:
            found.append(View(t, t, addresses, blind=blind))
    return found


def test_what_is_true_is_neither_stale_nor_missing() -> None:
    told = views([A], [A], [A, B], [A, B])
    truths = [Truth(A, -5.0), Truth(B, 0.15)]
    assert stale(told, truths) == []
    assert missing(told, truths) == []


def test_a_dead_address_is_stale_from_its_end_until_it_was_given_last() -> None:
    told = views([A, B], [A, B], [A, B], [B])
    [found] = stale(told, [Truth(A, -1.0, until=0.05, task="app.1.x"), Truth(B, -1.0)])
    assert (found.kind, found.address, found.task) == ("stale", A, "app.1.x")
    assert (found.began, found.ended, found.open) == (0.05, 0.2, False)


def test_a_dead_address_that_is_given_to_the_end_is_open() -> None:
    [found] = stale(views([A], [A], [A]), [Truth(A, -1.0, until=0.05)])
    assert found.open
    assert found.seconds == pytest.approx(0.15)


def test_an_address_that_is_taken_again_lives_again() -> None:
    told = views([A], [A], [A], [A], [A])
    [found] = stale(told, [Truth(A, -1.0, until=0.05), Truth(A, 0.25)])
    assert (found.ended, found.open) == (0.25, False)
    assert stale(told, [Truth(A, -1.0, until=0.25), Truth(A, 0.2)]) == []


def test_a_dead_address_that_is_gone_at_the_next_answer_is_not_counted() -> None:
    assert stale(views([A], []), [Truth(A, -1.0, until=0.05)]) == []


def test_a_live_address_is_missing_from_its_start_until_it_is_given() -> None:
    [found] = missing(views([], [], [], [A]), [Truth(A, 0.05)])
    assert (found.began, found.ended, found.open) == (0.05, 0.3, False)


def test_a_live_address_that_is_lost_is_missing_from_then_on() -> None:
    [found] = missing(views([A], [A], [], []), [Truth(A, -1.0)])
    assert (found.began, found.open) == (0.2, True)
    assert found.ended == pytest.approx(0.3)


def test_before_the_watching_nothing_is_counted() -> None:
    [found] = missing(views([], [], [A]), [Truth(A, -30.0)])
    assert found.began == 0.0


def test_what_is_taken_out_on_purpose_is_not_missing() -> None:
    told = views([A], [A], *[[]] * 28)
    assert missing(told, [Truth(A, -1.0, until=2.6, leaving=0.1 + LEAVING)]) == []
    [found] = missing(told, [Truth(A, -1.0, until=2.6)])
    assert found.ended == 2.6


def test_nobody_to_ask_is_neither() -> None:
    truths = [Truth(A, -1.0), Truth(B, -1.0, until=0.05)]
    assert missing(views([A], None, None, [A]), truths) == []
    assert stale(views([A], None, None, [A]), truths) == []
    [found] = missing(views([A], [], [], None, [A]), truths)
    assert (found.began, found.ended) == (0.1, 0.2)


def test_an_error_gives_no_address() -> None:
    told = [View(0.0, 0.0, frozenset({A})), View(0.1, 0.2, error="SERVFAIL")]
    [found] = missing(told, [Truth(A, -1.0)])
    assert (found.began, found.open) == (0.1, True)


@given(
    st.lists(st.lists(st.sampled_from([A, B])), min_size=1, max_size=40),
    st.floats(-1.0, 4.0, allow_nan=False),
    st.floats(0.01, 3.0),
)
def test_a_stretch_lies_within_what_was_watched(
    told: Sequence[list[str]], since: float, lived: float
) -> None:
    watched = views(*told)
    truths = [Truth(A, since, until=since + lived), Truth(B, -1.0)]
    for found in [*stale(watched, truths), *missing(watched, truths)]:
        assert found.began <= found.ended <= watched[-1].last
        if found.kind == "stale":
            assert found.began == since + lived
        else:
            assert found.began >= watched[0].first


@given(st.integers(0, 30), st.integers(1, 30), st.floats(0.0, 0.0999))
def test_staleness_is_exact_to_the_time_between_two_answers(
    before: int, after: int, within: float
) -> None:
    """An address dies between two answers and is given for so many more."""
    told = views(*[[A]] * (before + 1 + after), *[[]] * 3)
    died = before * TICK + within
    truth = [Truth(A, -1.0, until=died)]
    [found] = stale(told, truth)
    assert found.seconds == pytest.approx(after * TICK - within, abs=1e-6)


def test_the_most_at_once_counts_what_overlaps() -> None:
    def at(began: float, ended: int) -> Stretch:
        return Stretch("stale", A, "", began, ended)

    assert most_at_once([]) == 0
    assert most_at_once([at(0, 1), at(1, 2), at(2, 3)]) == 1
    assert most_at_once([at(0, 3), at(1, 2), at(1.5, 4)]) == 3


def test_what_is_wrong_now_is_said() -> None:
    truths = [Truth(A, 0.0, task="app.1.x"), Truth(B, 0.0, until=5.0)]
    assert wrong_now(View(9.0, 9.0, frozenset({A})), truths, 9.0) == []
    assert wrong_now(View(9.0, 9.0, frozenset({A, B})), truths, 9.0) == [f"{B} is dead"]
    assert wrong_now(View(9.0, 9.0, frozenset()), truths, 9.0) == [f"{A} (app.1.x) is missing"]
    assert wrong_now(View(9.0, 9.0, frozenset({A, "1.2.3.4"})), truths, 9.0) == [
        "1.2.3.4 is unknown"
    ]
    assert wrong_now(View(9.0, 9.0, blind=True), truths, 9.0) == ["nobody to ask"]
    assert "SERVFAIL" in wrong_now(View(9.0, 9.0, error="SERVFAIL"), truths, 9.0)
    assert wrong_now(View(9.0, 9.0, error="SERVFAIL"), [], 9.0) == []


# -- outages -----------------------------------------------------------------------------------


def attempts(target: str, *outcomes: str, port: int = 8080, every: float = 0.25) -> list[Attempt]:
    cell = Cell("outside", f"{target}:{port}")
    return [
        Attempt(cell, "", port, round(number * every, 6), 0.01, outcome)
        for number, outcome in enumerate(outcomes)
    ]


def test_an_outage_lasts_until_a_request_gets_through() -> None:
    [found] = outages_in(attempts("m1", "ok", "refused", "timeout", "ok"))
    assert (found.began, found.ended, found.open) == (0.25, 0.75, False)
    assert found.outcomes == ("refused", "timeout")


def test_an_outage_that_does_not_end_is_open() -> None:
    [first, last] = outages_in(attempts("m1", "refused", "ok", "5xx"))
    assert (first.open, last.open) == (False, True)
    assert last.ended == pytest.approx(0.51)


@given(st.lists(st.sampled_from(["ok", "refused"]), max_size=40))
def test_outages_are_the_stretches_without_success(outcomes: Sequence[str]) -> None:
    found = list(outages_in(attempts("m1", *outcomes)))
    stretches = "".join("x" if o == "ok" else "." for o in outcomes).split("x")
    assert len(found) == sum(bool(stretch) for stretch in stretches)
    assert sum(o.open for o in found) == (bool(outcomes) and outcomes[-1] != "ok")


def test_a_port_that_nobody_serves_is_no_outage_of_one_node() -> None:
    nobody = attempts("m1", "refused", "refused", "ok") + attempts("w1", "refused", "refused", "ok")
    assert list(alone_in(sorted(nobody, key=lambda a: a.t))) == []


def test_a_node_is_alone_from_when_another_one_serves() -> None:
    both = attempts("m1", "refused", "ok", "ok", "ok", "ok") + attempts(
        "w1", "refused", "refused", "refused", "refused", "ok"
    )
    [found] = alone_in(sorted(both, key=lambda a: a.t))
    assert (found.cell.target, found.began, found.ended) == ("w1:8080", 0.25, 1.0)


def test_other_ports_are_another_matter() -> None:
    both = attempts("m1", "ok", "ok", port=8081) + attempts("w1", "refused", "refused")
    assert list(alone_in(sorted(both, key=lambda a: a.t))) == []


@pytest.mark.parametrize(
    ("data", "code", "headers"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Task: app.1.x\r\nX-Node:w1\r\n\r\nbody", 200, ("app.1.x", "w1")),
        (b"HTTP/1.0 503 Busy\r\n\r\n", 503, (None, None)),
    ],
)
def test_an_answer_says_who_it_is(
    data: bytes, code: int, headers: tuple[str | None, str | None]
) -> None:
    status, found = head_of(data)
    assert status == code
    assert (found.get("x-task"), found.get("x-node")) == headers


@given(st.binary(max_size=60))
def test_what_is_no_http_is_refused(data: bytes) -> None:
    assume(not data.startswith(b"HTTP/1."))
    with pytest.raises(ValueError, match="HTTP"):
        head_of(data)


def test_listeners_are_told_from_connections() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n"
        "   1: 0100007F:0016 0200007F:D431 01 00000000:00000000 00:00000000\n"
    )
    assert listeners_in(table) == {8080}
    assert listeners_in("") == set()


# -- tasks -------------------------------------------------------------------------------------


def life(
    slot: str, task: str, started: float, ended: float | None = None, node: str = "w1"
) -> Life:
    return Life(f"c{task}", node, "app", slot, task, started=started, ended=ended)


def test_the_time_of_many_is_that_of_the_last_start() -> None:
    lives = [life("1", "a", 0.0, 5.0), life("2", "b", 3.0), life("1", "c", 6.0)]
    assert time_of(lives, 2, since=0.0) == 3.0
    assert time_of(lives, 2, since=5.5) == 6.0
    assert time_of(lives, 3, since=0.0) is None


def test_twins_are_two_lives_of_one_slot() -> None:
    lives = [life("1", "a", 0.0, 10.0), life("1", "b", 6.0), life("2", "c", 0.0)]
    [found] = twins_in(lives, since=0.0, until=20.0)
    assert (found.slot, found.tasks, found.began, found.ended) == ("1", ("a", "b"), 6.0, 10.0)
    assert list(twins_in(lives, since=10.0, until=20.0)) == []


def test_the_fewest_are_counted_at_the_worst_moment() -> None:
    def serving(began: float, leaving: float | None, ended: float | None) -> Life:
        return Life(
            "", "", "app", "", "", started=began, serving=began, leaving=leaving, ended=ended
        )

    lives = [serving(0.0, 4.0, 6.0), serving(0.0, 5.0, 7.0), serving(8.0, None, None)]
    assert fewest_serving(lives, since=0.0, until=20.0) == 0
    assert fewest_serving(lives, since=0.0, until=4.5) == 1
    assert fewest_serving(lives, since=0.0, until=3.0) == 2
    assert fewest_serving(lives, since=9.0, until=20.0) == 1


@given(
    st.lists(st.tuples(st.sampled_from("12"), st.integers(0, 50), st.integers(1, 50)), max_size=8)
)
def test_twins_are_found_at_every_moment_and_only_then(
    spans: Sequence[tuple[str, int, int]],
) -> None:
    lives = [
        life(slot, str(number), float(began), float(began + length))
        for number, (slot, began, length) in enumerate(spans)
    ]
    found = list(twins_in(lives, since=0.0, until=200.0))
    for moment in (t + 0.5 for t in range(120)):
        for slot in "12":
            count = sum(each.slot == slot and each.runs_at(moment) for each in lives)
            inside = [f for f in found if f.slot == slot and f.began <= moment < f.ended]
            assert (len(inside) == 1) == (count > 1)
            if inside:
                assert len(inside[0].tasks) == count
