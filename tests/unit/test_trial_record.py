"""A trial's record: judged, written, read back; and who may be called as expected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from harness.errors import LabError, TrialError, UsageError
from harness.trial import (
    SCHEMA,
    EngineFacts,
    Expectation,
    Inconclusive,
    Observation,
    Trial,
    TrialInputs,
    as_expected,
    digest_files,
    digest_of,
    judge,
    read_lines,
    read_record,
)
from harness.wait import Elapsed

INPUTS = TrialInputs(
    scenario="scenarios/test_x.py::test_x",
    engine=EngineFacts(name="stable", version="26.1.5", source="debian:trixie", digest="d"),
    topology="3m2w",
    lab="namespaces",
    kernel="6.1",
    clock="real",
    seed=7,
)


def trial(folder: Path, *, control: bool = False) -> Trial:
    return Trial(folder / "trial", msgspec.structs.replace(INPUTS, control=control))


def test_a_trial_is_read_back_as_it_was_finished(tmp_path: Path) -> None:
    made = trial(tmp_path)
    made.measures(Expectation("downtime", unit="s", at_most=5, source="upstream"), 3.5)
    made.write_samples("requests", [{"t": 1}, {"t": 2}])
    record = made.finish(
        None, title="A title", upstream=["moby/moby#1"], nodes=["m1"], must_break=[]
    )
    assert read_record(made.folder) == record
    assert (record.verdict, record.reason, record.inputs.seed) == ("pass", "", 7)
    assert record.measures[0].ok is True
    assert [entry["kind"] for entry in read_lines(made.folder / "journal.jsonl")] == [
        "trial.start",
        "measure",
        "measure.bound",
        "trial.end",
    ]
    assert list(read_lines(made.samples("requests"))) == [{"t": 1}, {"t": 2}]
    assert record.seconds > 0
    assert record.files == digest_files(made.folder)
    assert record.files.keys() == {"journal.jsonl", "samples/requests.jsonl"}
    assert record.digest == digest_of(record.files)


def test_the_digest_follows_every_file_and_its_name(tmp_path: Path) -> None:
    files = {"a": "1", "b": "2"}
    assert digest_of(files) == digest_of(dict(reversed(files.items())))
    assert len({digest_of(f) for f in (files, {"a": "1"}, {"a": "2", "b": "1"}, {})}) == 4


def test_a_folder_is_a_trials_once(tmp_path: Path) -> None:
    first = trial(tmp_path)
    with pytest.raises(TrialError, match="cannot make the trial's folder"):
        trial(tmp_path)
    first.finish(None)


def test_a_record_of_another_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    made = trial(tmp_path)
    made.finish(None)
    path = made.folder / "trial.json"
    newer = {**json.loads(path.read_text()), "schema": SCHEMA + 1, "measures": "other"}
    path.write_text(json.dumps(newer))
    with pytest.raises(TrialError, match=f"schema {SCHEMA + 1}; this harness reads {SCHEMA}"):
        read_record(made.folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "null"])
def test_what_is_no_record_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "trial.json").write_text(text)
    with pytest.raises(TrialError, match="not a valid trial record"):
        read_record(tmp_path)


def test_no_record_at_all_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="cannot read"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("error", "doubts", "verdict", "reason"),
    [
        (None, [], "unknown", "nothing was held against a bound"),
        (AssertionError("no\nmore"), [], "fail", "no"),
        (AssertionError(), [], "fail", "an assertion failed"),
        (LabError("m1 is gone"), [], "unknown", "LabError: m1 is gone"),
        (ValueError("x"), [], "unknown", "ValueError: x"),
        (KeyError(), [], "unknown", "KeyError: "),
        (Inconclusive(["too few", "samples"]), [], "unknown", "too few; samples"),
        (AssertionError("no"), ["no evidence"], "unknown", "no evidence"),
        (None, ["one", "two"], "unknown", "one; two"),
    ],
)
def test_verdicts(
    error: Exception | None, doubts: Sequence[str], verdict: str, reason: str
) -> None:
    assert judge(error, [], doubts) == (verdict, reason)


@pytest.mark.parametrize(
    ("control", "must_break", "broken", "verdict", "expected"),
    [
        (False, [], [], "pass", True),
        (False, [], ["a"], "fail", False),
        (True, ["a"], ["a"], "fail", True),
        (True, ["a"], ["a", "b"], "fail", True),
        (True, ["a", "b"], ["a"], "fail", False),
        (True, ["a"], ["b"], "fail", False),
        (True, ["a"], [], "pass", False),
        (True, [], [], "pass", False),
    ],
)
def test_a_control_is_as_expected_when_it_fails_by_what_it_names(
    tmp_path: Path,
    control: bool,
    must_break: Sequence[str],
    broken: Sequence[str],
    verdict: str,
    expected: bool,
) -> None:
    made = trial(tmp_path, control=control)
    for name in ("a", "b"):
        made.measures(Expectation(name, unit="s", at_most=1 if name in broken else 3), 2)
    record = made.finish(None, must_break=must_break)
    assert record.verdict == verdict
    assert as_expected(record) is expected


@pytest.mark.parametrize(
    ("must_break", "broken", "expected"),
    [
        (["a"], ["a"], True),
        (["a"], ["a", "b"], False),  # what the bug does not explain is a failure
        (["a", "b"], ["a"], False),
        (["a"], [], False),  # the bug is gone
        ([], ["b"], True),
        ([], [], False),
    ],
)
def test_a_known_bug_is_as_expected_when_it_shows_as_it_is_known(
    tmp_path: Path, must_break: Sequence[str], broken: Sequence[str], expected: bool
) -> None:
    made = trial(tmp_path)
    for name in ("a", "b"):
        made.measures(Expectation(name, unit="s", at_most=1 if name in broken else 3), 2)
    record = made.finish(None, must_break=must_break, known_bugs=["moby/moby#1"])
    assert as_expected(record) is expected
    assert record.known_bugs == ("moby/moby#1",)


def test_a_doubtful_trial_says_nothing_control_or_not(tmp_path: Path) -> None:
    made = trial(tmp_path, control=True)
    made.measures(Expectation("a", unit="s", at_most=1), 2)
    made.doubt("the fault left no evidence")
    assert as_expected(made.finish(None, must_break=["a"])) is None


@pytest.mark.parametrize(
    ("control", "must_break", "left", "expected"),
    [
        (False, ["a"], "undecided", None),
        (True, ["a"], "undecided", None),
        (False, ["a"], "raised", None),
        (True, ["a"], "raised", None),
        (False, ["b"], "raised", False),  # what the bug does not explain is a failure in any case
    ],
)
def test_what_is_incomplete_is_not_as_expected(
    tmp_path: Path, control: bool, must_break: Sequence[str], left: str, expected: bool | None
) -> None:
    made = trial(tmp_path, control=control)
    made.measures(Expectation("a", unit="s", at_most=1), 2)
    made.measures(Expectation("c", unit="s", at_most=1), None if left == "undecided" else 1)
    error = ValueError("no answer") if left == "raised" else None
    known = [] if control else ["moby/moby#1"]
    record = made.finish(error, must_break=must_break, known_bugs=known)
    assert (record.verdict, bool(record.incomplete)) == ("fail", True)
    assert as_expected(record) is expected


def test_a_broken_bound_outranks_what_is_raised_after_it_and_the_labs_trouble_outranks_both(
    tmp_path: Path,
) -> None:
    made = trial(tmp_path)
    broken = made.measures(Expectation("a", unit="s", at_most=1), 2)
    assert judge(ValueError("x"), [broken], []) == ("fail", f"{broken}; then ValueError: x")
    assert judge(AssertionError("no"), [broken], []) == ("fail", f"{broken}; then no")
    assert judge(ValueError("x"), [broken], ["doubt"]) == ("unknown", "doubt")
    assert judge(LabError("gone"), [broken], []) == ("unknown", "LabError: gone")
    assert judge(Inconclusive(["late"]), [broken], []) == ("unknown", "late")
    made.finish(None)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (True, 1.0),
        (np.bool_(True), 1.0),
        (np.float64(1.5), 1.5),
        (np.float32(1.5), 1.5),
        (np.int64(2), 2.0),
        (np.array(2.5), 2.5),
        (Elapsed(np.float64(2.0), reached=True), 2.0),
    ],
)
def test_whatever_number_is_measured_the_record_is_read_back(
    tmp_path: Path, value: Any, read: float
) -> None:
    made = trial(tmp_path)
    made.measures(Expectation("a", unit="s", at_most=np.float64(1)), value)
    made.finish(None)
    [measure] = read_record(made.folder).measures
    assert (measure.value, measure.ok) == (read, read <= 1)


@pytest.mark.parametrize("value", ["2", np.array([1, 2]), [1], object(), 1j])
def test_what_is_not_one_number_is_refused(tmp_path: Path, value: Any) -> None:
    made = trial(tmp_path)
    with pytest.raises(TrialError, match=r"the measure 'a' is not a (single )?number"):
        made.measures(Expectation("a", unit="s", at_most=1), value)
    with pytest.raises(TrialError, match="the note of the measure 'a' is not a text: 5"):
        made.measures(Expectation("a", unit="s", at_most=1), 1, note=cast("Any", 5))
    made.finish(None)


def test_a_record_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    made = trial(tmp_path)
    with pytest.raises(TrialError, match="cannot be written"):
        made.finish(None, upstream=[cast("Any", 32841)])
    assert not (made.folder / "trial.json").exists()


def test_texts_of_an_expectation_are_texts() -> None:
    with pytest.raises(UsageError, match="the source of 'a' is not a text"):
        Expectation("a", unit="s", at_most=1, source=cast("Any", ("upstream",)))
    with pytest.raises(UsageError, match="the unit of 'a' is not a text"):
        Observation("a", unit=cast("Any", None))
