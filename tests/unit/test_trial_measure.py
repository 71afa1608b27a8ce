"""Measures against bounds, and what "longer than" can and cannot say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.errors import TrialError
from harness.trial import Expectation, Journal, Measures, Observation, TrialClock, judge, read_lines
from harness.wait import Elapsed

NUMBERS = st.floats(-1e6, 1e6).map(lambda number: round(number, 6))
BOUNDS = ("at_most", "at_least", "exactly")


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    journal = Journal(tmp_path_factory.mktemp("trial") / "journal.jsonl", TrialClock())
    yield journal
    journal.close()


def expected(op: str, limit: float, name: str = "m", unit: str = "s") -> Expectation:
    """Return an expectation with one limit."""
    limits: dict[str, Any] = {op: limit}
    return Expectation(name, unit, **limits)


def held(journal: Journal, value: float | Elapsed | None, op: str, limit: float) -> bool | None:
    """Return whether a value keeps a bound, and that this is what is kept of it."""
    measures = Measures(journal)
    ok = measures(expected(op, limit), value).ok
    [measure] = measures.all()
    assert measure.ok is ok
    return ok


@given(value=NUMBERS, limit=NUMBERS)
def test_a_value_keeps_or_breaks_its_bound(journal: Journal, value: float, limit: float) -> None:
    assert held(journal, value, "at_most", limit) is (value <= limit)
    assert held(journal, value, "at_least", limit) is (value >= limit)
    assert held(journal, value, "exactly", limit) is (value == limit)


@given(value=NUMBERS, limit=NUMBERS, more=st.floats(0.001, 1e6))
def test_a_censored_value_says_only_what_holds_for_every_longer_one(
    journal: Journal, value: float, limit: float, more: float
) -> None:
    truth = value + more  # whatever it would have been
    elapsed = Elapsed(value, reached=False)
    assume(truth > value)
    verdicts = {op: held(journal, elapsed, op, limit) for op in BOUNDS}
    if verdicts["at_most"] is not None:
        assert verdicts["at_most"] is (truth <= limit)
    if verdicts["at_least"] is not None:
        assert verdicts["at_least"] is (truth >= limit)
    assert verdicts["at_most"] is not True, "longer than something is never short enough"
    assert verdicts["at_least"] is not False
    assert verdicts["exactly"] is None


@pytest.mark.parametrize("op", BOUNDS)
def test_without_a_value_no_bound_holds_or_breaks(journal: Journal, op: str) -> None:
    assert held(journal, None, op, 1) is None


def test_a_reached_state_is_a_value_like_any_other(journal: Journal) -> None:
    assert held(journal, Elapsed(3.0, reached=True), "at_most", 4) is True


def test_broken_and_undecided_are_told_apart(journal: Journal) -> None:
    measures = Measures(journal)
    measures(expected("at_most", 2, "kept"), 1)
    measures(expected("at_most", 2, "broken"), 3)
    measures(Observation("free", unit="s"), 3)
    measures(Observation("missing", unit="s"), None)
    measures(expected("at_most", 2, "cut short"), Elapsed(1, reached=False, last="no leader"))
    assert [m.name for m in measures.broken()] == ["broken"]
    assert [m.name for m in measures.undecided()] == ["missing", "cut short"]
    assert [m.name for m in measures.all()] == ["kept", "broken", "free", "missing", "cut short"]
    assert measures.all()[-1].note == "no leader"


def test_a_bound_is_on_record_with_its_outcome(journal: Journal) -> None:
    Measures(journal)(Expectation("downtime", unit="s", at_most=2, source="somewhere"), 3)
    taken, bound = list(read_lines(journal.path))[-2:]
    assert (taken["kind"], taken["value"], taken["censored"]) == ("measure", 3.0, False)
    assert (bound["kind"], bound["op"], bound["limit"], bound["ok"]) == (
        "measure.bound",
        "below",
        2,
        False,
    )


def test_a_name_is_taken_once(journal: Journal) -> None:
    measures = Measures(journal)
    measures(expected("at_most", 2), 1)
    with pytest.raises(TrialError, match="taken already"):
        measures(expected("at_most", 2), 2)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(journal: Journal, number: float) -> None:
    measures = Measures(journal)
    with pytest.raises(TrialError, match="not a finite number"):
        measures(Observation("m", unit="s"), number)
    assert measures.all() == ()


def test_a_value_may_have_a_note_beside_it(journal: Journal) -> None:
    measures = Measures(journal)
    lost = Observation("lost at {entry}", unit="requests")
    measures.each({Observation("m", unit="s"): (1, "why"), lost: {"m1": (7, "lines 3 to 9")}})
    assert [(m.name, m.value, m.note) for m in measures.all()] == [
        ("m", 1, "why"),
        ("lost at m1", 7, "lines 3 to 9"),
    ]


def test_a_measure_reads_like_a_sentence(journal: Journal) -> None:
    measures = Measures(journal)
    measures(expected("at_most", 0.1, "share", "1"), 0.25)
    measures(expected("at_most", 44, "failover"), Elapsed(45, reached=False, last="no leader"))
    measures(Observation("memory", unit="MiB"), None)
    assert [str(m) for m in measures.all()] == [
        "share: 25 % (at most 10 % expected)",
        "failover: more than 45 s (at most 44 s expected), no leader",
        "memory: not measured",
    ]


@given(st.lists(st.tuples(NUMBERS, st.sampled_from(BOUNDS), NUMBERS)), st.booleans())
def test_a_trial_passes_if_and_only_if_every_bound_holds(
    journal: Journal, taken: list[tuple[float, str, float]], doubtful: bool
) -> None:
    measures = Measures(journal)
    for number, (value, op, limit) in enumerate(taken):
        measures(expected(op, limit, f"m{number}"), value)
    verdict, reason = judge(None, measures.all(), ["a doubt"] if doubtful else [])
    if doubtful:
        assert (verdict, reason) == ("unknown", "a doubt")
    else:
        kept = "pass" if taken else "unknown"
        assert verdict == ("fail" if measures.broken() else kept)
        assert bool(reason) == (verdict != "pass")
