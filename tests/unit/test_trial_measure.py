"""Measures against bounds, and what "longer than" can and cannot say."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.errors import TrialError
from harness.trial import Journal, Measures, TrialClock, judge, read_lines
from harness.wait import Elapsed

NUMBERS = st.floats(-1e6, 1e6).map(lambda number: round(number, 6))
BOUNDS = ("below", "above", "equals")


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    journal = Journal(tmp_path_factory.mktemp("trial") / "journal.jsonl", TrialClock())
    yield journal
    journal.close()


def held(journal, value, op, limit):
    measures = Measures(journal)
    ok = getattr(measures("m", value, unit="s"), op)(limit)
    [measure] = measures.all()
    assert measure.ok is ok
    return ok


@given(value=NUMBERS, limit=NUMBERS)
def test_a_value_keeps_or_breaks_its_bound(journal, value, limit):
    assert held(journal, value, "below", limit) is (value <= limit)
    assert held(journal, value, "above", limit) is (value >= limit)
    assert held(journal, value, "equals", limit) is (value == limit)


@given(value=NUMBERS, limit=NUMBERS, more=st.floats(0.001, 1e6))
def test_a_censored_value_says_only_what_holds_for_every_longer_one(journal, value, limit, more):
    truth = value + more  # whatever it would have been
    elapsed = Elapsed(value, reached=False)
    assume(truth > value)
    verdicts = {op: held(journal, elapsed, op, limit) for op in BOUNDS}
    if verdicts["below"] is not None:
        assert verdicts["below"] is (truth <= limit)
    if verdicts["above"] is not None:
        assert verdicts["above"] is (truth >= limit)
    assert verdicts["below"] is not True, "longer than something is never short enough"
    assert verdicts["above"] is not False
    assert verdicts["equals"] is None


@pytest.mark.parametrize("op", BOUNDS)
def test_without_a_value_no_bound_holds_or_breaks(journal, op):
    assert held(journal, None, op, 1) is None


def test_a_reached_state_is_a_value_like_any_other(journal):
    assert held(journal, Elapsed(3.0, reached=True), "below", 4) is True


def test_broken_and_undecided_are_told_apart(journal):
    measures = Measures(journal)
    measures("kept", 1, unit="s").below(2)
    measures("broken", 3, unit="s").below(2)
    measures("free", 3, unit="s")
    measures("missing", None, unit="s")
    measures("cut short", Elapsed(1, reached=False, last="no leader"), unit="s").below(2)
    assert [m.name for m in measures.broken()] == ["broken"]
    assert [m.name for m in measures.undecided()] == ["missing", "cut short"]
    assert [m.name for m in measures.all()] == ["kept", "broken", "free", "missing", "cut short"]
    assert measures.all()[-1].note == "no leader"


def test_a_bound_is_on_record_with_its_outcome(journal):
    Measures(journal)("downtime", 3, unit="s").below(2, source="somewhere")
    taken, bound = list(read_lines(journal.path))[-2:]
    assert (taken["kind"], taken["value"], taken["censored"]) == ("measure", 3.0, False)
    assert (bound["kind"], bound["op"], bound["limit"], bound["ok"]) == (
        "measure.bound",
        "below",
        2,
        False,
    )


def test_a_name_is_taken_once_and_a_bound_given_once(journal):
    measures = Measures(journal)
    pending = measures("m", 1, unit="s")
    pending.below(2)
    with pytest.raises(TrialError, match="has a bound already"):
        pending.above(0)
    with pytest.raises(TrialError, match="taken already"):
        measures("m", 2, unit="s")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(journal, number):
    measures = Measures(journal)
    with pytest.raises(TrialError, match="not a finite number"):
        measures("m", number, unit="s")
    assert measures.all() == ()
    with pytest.raises(TrialError, match="not a finite number"):
        measures("m", 1, unit="s").below(number)


def test_a_measure_reads_like_a_sentence(journal):
    measures = Measures(journal)
    measures("share", 0.25, unit="1").below(0.1)
    measures("failover", Elapsed(45, reached=False, last="no leader"), unit="s").below(44)
    measures("memory", None, unit="MiB")
    assert [str(m) for m in measures.all()] == [
        "share = 0.25 (expected <= 0.1)",
        "failover = > 45 s (expected <= 44): no leader",
        "memory = not measured",
    ]


@given(st.lists(st.tuples(NUMBERS, st.sampled_from(BOUNDS), NUMBERS)), st.booleans())
def test_a_trial_passes_if_and_only_if_every_bound_holds(journal, taken, doubtful):
    measures = Measures(journal)
    for number, (value, op, limit) in enumerate(taken):
        getattr(measures(f"m{number}", value, unit="s"), op)(limit)
    verdict, reason = judge(None, measures.all(), ["a doubt"] if doubtful else [])
    if doubtful:
        assert (verdict, reason) == ("unknown", "a doubt")
    else:
        assert verdict == ("fail" if measures.broken() else "pass")
        assert bool(reason) == (verdict == "fail")
