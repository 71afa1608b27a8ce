"""Runs and engines held against each other: like with like, and what is left out said."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st
from optionals import not_none
from stored_runs import given, store_run, store_trial

from harness.errors import UsageError
from harness.results import Run, RunWriter, read_run
from harness.results.comparable import FAILED
from harness.results.comparison import Comparison, Finding, compare
from harness.results.comparison_sides import sides_by_engine, sides_by_run, with_scenarios
from harness.results.thresholds import (
    Threshold,
    Thresholds,
    read_thresholds,
    rule_for,
)
from harness.wait import Elapsed

FAST = [10 + n / 10 for n in range(10)]
SLOW = [20 + n / 10 for n in range(10)]


def compared(*runs: Run, **options: Any) -> Comparison:
    return compare(sides_by_run(runs), **options)


def finding(comparison: Comparison, measure: str = "time to a new leader") -> Finding:
    [found] = [f for f in comparison.pairings[0].findings if f.measure == measure]
    return found


def test_a_slower_run_regressed_and_a_faster_one_improved(tmp_path: Path) -> None:
    fast, slow = store_run(tmp_path, FAST), store_run(tmp_path, SLOW, day=2)
    there, back = finding(compared(fast, slow)), finding(compared(slow, fast))
    assert (there.outcome, back.outcome) == ("regressed", "improved")
    assert there.shift == pytest.approx(10.0)
    assert not_none(there.low) <= 10.0 <= not_none(there.high)
    assert back.shift == -there.shift
    assert (there.baseline.median, there.candidate.median) == (10.45, 20.45)


def test_a_run_against_itself_is_the_same_or_within_noise(tmp_path: Path) -> None:
    run = store_run(tmp_path, FAST)
    comparison = compared(run, run)
    assert comparison.outcomes <= {"same", "within noise"}
    assert comparison.pairings[0].candidate == f"{run.record.id} (2)"


def test_virtual_and_real_time_never_meet(tmp_path: Path) -> None:
    real = store_run(tmp_path, FAST)
    virtual = store_run(tmp_path, SLOW, day=2, inputs={"clock": "virtual"})
    [pairing] = compared(real, virtual).pairings
    assert pairing.findings == ()
    assert "real time" in pairing.left_out[0]
    assert "virtual time" in pairing.left_out[0]
    assert "not comparable" in pairing.left_out[0]


@pytest.mark.parametrize(
    "change", [{"topology": "1m"}, {"lab": "microvm"}, {"options": {"a": "b"}}]
)
def test_only_like_is_held_against_like(
    tmp_path: Path, change: Mapping[str, str | dict[str, str]]
) -> None:
    [pairing] = compared(
        store_run(tmp_path, FAST), store_run(tmp_path, SLOW, day=2, inputs=change)
    ).pairings
    assert pairing.findings == ()
    assert len(pairing.left_out) == 1


def test_identical_trials_in_virtual_time_are_the_same_whatever_their_number(
    tmp_path: Path,
) -> None:
    inputs = {"clock": "virtual"}
    runs = [store_run(tmp_path, [12.0, 14.0], day=day, inputs=inputs) for day in (1, 2)]
    comparison = compared(*runs)
    assert comparison.outcomes == {"same"}
    assert "identical" in finding(comparison).reason


def test_a_virtual_trial_that_ran_again_counts_once(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for _ in range(5):
        store_trial(writer, given(clock="virtual"), {"time to a new leader": 12.0})
    other = store_run(tmp_path, SLOW, day=2, inputs={"clock": "virtual"})
    comparison = compared(read_run(writer.folder), other)
    assert len(finding(comparison).baseline.values) == 1
    assert finding(comparison).outcome == "inconclusive"
    assert any(
        "4 trials left out (byte-identical repetitions" in s
        for s in comparison.pairings[0].left_out
    )


def test_doubted_trials_and_controls_are_left_out_and_said_so(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for seed, value in enumerate(FAST):
        store_trial(writer, given(seed=seed), {"time to a new leader": value})
    store_trial(writer, given(seed=98), {"time to a new leader": 999.0}, doubt="no evidence")
    store_trial(writer, given(seed=99, control=True), {"time to a new leader": 999.0})
    (writer.folder / "trials" / "torn").mkdir()
    comparison = compared(read_run(writer.folder), store_run(tmp_path, FAST, day=2))
    assert finding(comparison).baseline.max < 11
    left_out = "\n".join(comparison.pairings[0].left_out)
    assert "1 trial left out (verdict unknown" in left_out
    assert "1 trial left out (controls" in left_out
    assert "1 trial left out (damaged" in left_out


def test_a_trial_that_was_watched_too_short_counts_as_longer_than(tmp_path: Path) -> None:
    # Its verdict is unknown, but leaving it out would make the slow side look fast.
    cut = [Elapsed(30.0, reached=False, last="nobody leads")] * 6
    slow = store_run(tmp_path, [*FAST[5:9], *cut], day=2, limit=45.0)
    assert {t.record.verdict for t in slow.trials} == {"pass", "unknown"}
    found = finding(compared(store_run(tmp_path, FAST, limit=45.0), slow))
    assert found.candidate.censored.count(True) == 6
    assert found.outcome == "regressed"


def test_failing_more_often_is_a_regression_of_its_own(tmp_path: Path) -> None:
    good = store_run(tmp_path, FAST, limit=15.0)
    bad = store_run(tmp_path, SLOW, day=2, limit=15.0)
    found = finding(compared(good, bad), FAILED)
    assert (found.outcome, found.shift) == ("regressed", 1.0)


def test_engines_within_a_run_the_oldest_being_the_baseline(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for version, values in (("28.5.2", SLOW), ("9.0.1", FAST), ("20.10.5", FAST)):
        for seed, value in enumerate(values):
            store_trial(writer, given(version, seed=seed), {"time to a new leader": value})
    run = read_run(writer.folder)
    comparison = compare(sides_by_engine([run]), by="engine")
    assert comparison.baseline == "9.0.1"
    assert [p.candidate for p in comparison.pairings] == ["20.10.5", "28.5.2"]
    assert [p.counts["regressed"] for p in comparison.pairings] == [0, 1]
    other = compare(sides_by_engine([run], baseline="28.5.2"), by="engine")
    assert [p.counts["improved"] for p in other.pairings] == [1, 1]
    with pytest.raises(UsageError, match="no trial ran on engine 1"):
        sides_by_engine([run], baseline="1")


def test_runs_of_several_engines_are_compared_engine_by_engine(tmp_path: Path) -> None:
    runs = []
    for day in (1, 2):
        writer = RunWriter.create(tmp_path, command=[], harness="1")
        for version, values in (("20.10.5", FAST), ("28.5.2", FAST if day == 1 else SLOW)):
            for seed, value in enumerate(values):
                store_trial(writer, given(version, seed=seed), {"time to a new leader": value})
        runs.append(read_run(writer.folder))
    words = {f.engine: f.outcome for f in compared(*runs).pairings[0].findings if f.unit == "s"}
    assert words["28.5.2"] == "regressed"
    assert words["20.10.5"] in {"same", "within noise"}


def test_measures_of_one_side_only_and_of_other_units_are_told(tmp_path: Path) -> None:
    first = store_run(tmp_path, FAST, measure="a")
    left_out = compared(first, store_run(tmp_path, FAST, day=2, measure="b")).pairings[0].left_out
    assert sorted(left_out) == [
        "test_leader_killed[node]: 'a' was measured on one side only",
        "test_leader_killed[node]: 'b' was measured on one side only",
    ]
    other_unit = store_run(tmp_path, FAST, day=2, measure="a", unit="ms")
    [told] = compared(first, other_unit).pairings[0].left_out
    assert told == "test_leader_killed[node]: 'a' has several units (ms, s)"
    without = store_run(tmp_path, [None] * 5, day=2, measure="a")
    [told] = compared(first, without).pairings[0].left_out
    assert told == "test_leader_killed[node]: 'a' has no value on one side"


def test_one_side_alone_is_refused(tmp_path: Path) -> None:
    run = store_run(tmp_path, FAST)
    with pytest.raises(UsageError, match="nothing to compare: only"):
        compared(run)
    with pytest.raises(UsageError, match="no trial was found"):
        compare([])


def test_scenarios_can_be_picked(tmp_path: Path) -> None:
    [side] = sides_by_run([store_run(tmp_path, FAST)])
    assert with_scenarios(side, "leader").trials == side.trials
    assert with_scenarios(side, "nothing such").trials == ()


def test_a_comparison_comes_back_from_json(tmp_path: Path) -> None:
    comparison = compared(store_run(tmp_path, FAST), store_run(tmp_path, SLOW[:3], day=2))
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison


# -- thresholds ----------------------------------------------------------------------------------


def thresholds(tmp_path: Path, text: str) -> Thresholds:
    path = tmp_path / "thresholds.toml"
    path.write_text(text)
    return read_thresholds(path)


def test_a_threshold_makes_a_regression_noise_or_turns_it(tmp_path: Path) -> None:
    fast, slow = store_run(tmp_path, FAST), store_run(tmp_path, SLOW, day=2)

    def word(text: str) -> str:
        return finding(compared(fast, slow, thresholds=thresholds(tmp_path, text))).outcome

    assert word("") == "regressed"
    assert word("[unit.s]\nabsolute = 12") == "same"
    assert word('[measure."time to*"]\nabsolute = 12') == "same"
    assert word('[measure."time to*"]\nbetter = "higher"') == "improved"
    assert word('[measure."time to*"]\nbetter = "none"') == "different"
    ignored = compared(fast, slow, thresholds=thresholds(tmp_path, '[measure."t*"]\nignore = true'))
    assert ignored.pairings[0].findings == ()
    assert ignored.pairings[0].left_out == ()


def test_the_larger_floor_holds_and_the_last_pattern_goes() -> None:
    said = Thresholds(
        unit={"s": Threshold(absolute=0.5, relative=0.1)},
        measure={"longest*": Threshold(absolute=3.0), "longest gap*": Threshold(relative=0.2)},
    )
    assert rule_for(said, "x", "s", "lower").floor(2.0) == 0.5
    assert rule_for(said, "x", "s", "lower").floor(-20.0) == 2.0
    assert rule_for(said, "longest wait", "s", "lower").floor(1.0) == 3.0
    gap = rule_for(said, "longest gap at m1", "s", "lower")
    assert (gap.absolute, gap.relative) == (0.5, 0.2)
    assert rule_for(said, "x", "unheard of", "higher").better == "higher"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[unit.s", "is not valid TOML"),
        ("alpha = 2", "alpha = 2 is not a valid share"),
        ("[unit.s]\nabsolut = 1", "absolut"),
        ("[unit.s]\nabsolute = '1'", "float"),
        ("[unit.s]\nabsolute = -1", "is not a valid floor"),
        ("[unit.s]\nrelative = inf", "is not a valid floor"),
        ('[measure."x"]\nbetter = "up"', "better"),
        ("thing = 1", "thing"),
    ],
)
def test_a_threshold_that_cannot_be_meant_is_refused_by_name(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        thresholds(tmp_path, text)
    assert told in str(refused.value)
    assert "thresholds.toml" in str(refused.value)


def test_a_thresholds_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the thresholds file"):
        read_thresholds(tmp_path / "no.toml")
    (tmp_path / "no.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        read_thresholds(tmp_path / "no.toml")


@given_(st.text())
@settings(max_examples=60)
def test_any_text_makes_thresholds_or_a_sentence(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "t.toml")
        path.write_bytes(text.encode(errors="surrogatepass"))
        with suppress(UsageError):
            read_thresholds(path)
