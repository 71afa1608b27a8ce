"""Runs that are corrupt, foreign, newer or empty: a sentence each, and the rest is read."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st
from stored_runs import store_run

from harness.cli.main import call
from harness.errors import EXIT_TROUBLE, UsageError
from harness.results import RunWriter, list_runs, read_run
from harness.results.check import check_run, check_trial
from harness.results.comparison import compare
from harness.results.comparison_sides import sides_by_run
from harness.results.openmetrics import openmetrics

FILES = ("run.json", "trial.json", "journal.jsonl")


def spoil(folder: Path, name: str, raw: bytes) -> None:
    """Put ``raw`` in place of a file of the run's first trial, or of its record."""
    inside = folder if name == "run.json" else min((folder / "trials").iterdir())
    (inside / name).write_bytes(raw)


@pytest.mark.parametrize("name", ["run.json", "trial.json"])
@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"schema": 99, "id": "x", "trials": "?"}', "from a newer swarm-chaos"),
        (b'{"schema": 0}', "schema 0"),
        (b'{"name": "package"}', "has no schema number: swarm-chaos did not write it"),
        (b'{"schema": "1"}', "schema 1"),
        (b"[" * 100_000, ""),
        (b"\xff\xfe\x00", ""),
        (b"", ""),
        (b'{"schema": 1, "id": 7}', ""),
    ],
)
def test_a_record_that_cannot_be_read_is_one_sentence_and_hides_nothing_else(
    tmp_path: Path, name: str, raw: bytes, told: str
) -> None:
    run = store_run(tmp_path, [1.0, 2.0])
    spoil(run.folder, name, raw)
    again = read_run(run.folder)
    [damaged] = again.damaged
    assert told in damaged.sentence
    assert damaged.sentence
    assert "\n" not in damaged.sentence
    assert len(again.trials) == (2 if name == "run.json" else 1)


def test_of_a_newer_run_the_order_of_its_trials_is_kept(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0, 2.0, 3.0])
    path = run.folder / "run.json"
    record = json.loads(path.read_text())
    newer = {**record, "schema": 2, "trials": record["trials"][::-1], "new": {"key": 1}}
    path.write_text(json.dumps(newer))
    again = read_run(run.folder)
    assert [t.id for t in again.trials] == record["trials"][::-1]
    assert again.record.started == record["started"]


def test_new_keys_alone_are_let_pass(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0])
    for path in (run.folder / "run.json", run.trials[0].folder / "trial.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "new": 1}))
    assert read_run(run.folder).damaged == ()


def test_a_foreign_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(UsageError, match="is not a run"):
        read_run(tmp_path)


@settings(max_examples=40)
@given_(name=st.sampled_from(FILES), raw=st.binary(max_size=200) | st.text().map(str.encode))
def test_no_bytes_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, name: str, raw: bytes
) -> None:
    run = store_run(tmp_path_factory.mktemp("any"), [1.0, 2.0])
    spoil(run.folder, name, raw)
    again = read_run(run.folder)
    assert len(again.trials) >= 1
    check_run(again)
    openmetrics([again])
    compare(sides_by_run([again, again]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=60)
@given_(data=st.data())
def test_a_record_with_any_key_changed_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    run = store_run(tmp_path_factory.mktemp("key"), [1.0])
    path = run.trials[0].folder / "trial.json"
    record = json.loads(path.read_text())
    key = data.draw(st.sampled_from(sorted(record)))
    path.write_text(json.dumps({**record, key: data.draw(json_values)}))
    again = read_run(run.folder)
    assert len(again.trials) + len(again.damaged) == 1
    with suppress(UsageError):
        compare(sides_by_run([again, again]))


# -- swarm-chaos results check -------------------------------------------------------------------


def test_a_whole_run_is_whole(tmp_path: Path) -> None:
    assert check_run(store_run(tmp_path, [1.0, 2.0])) == ()


def test_a_changed_a_missing_and_a_torn_file_are_told(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0, 2.0, 3.0])
    changed, missing, torn = (trial.folder for trial in run.trials)
    journal = (changed / "journal.jsonl").read_bytes()
    (changed / "journal.jsonl").write_bytes(journal.replace(b"28.5.2", b"28.5.3"))
    (missing / "journal.jsonl").unlink()
    (torn / "journal.jsonl").write_bytes(b"nonsense\n" + journal)
    told = "\n".join(f"{d.path.name}: {d.sentence}" for d in check_run(run))
    assert f"{changed.name}: changed since it was recorded: journal.jsonl" in told
    assert f"{missing.name}: missing: journal.jsonl" in told
    assert "journal.jsonl: damaged: journal.jsonl, line 1" in told


def edited(trial: Path, **changes: object) -> None:
    path = trial / "trial.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("changes", [{"title": "other"}, {"verdict": "pass"}, {"unknown key": 1}])
def test_a_record_that_was_changed_is_told_by_check_and_by_replay(
    tmp_path: Path, changes: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    stored = store_run(tmp_path, [1.0, 2.0])
    RunWriter(stored.folder, stored.record).seal()
    assert check_run(read_run(stored.folder)) == ()
    other, trial = (each.folder for each in stored.trials)
    edited(trial, **changes)
    [found] = check_run(read_run(stored.folder))
    assert found.path == trial
    assert found.sentence == "changed since it was recorded: trial.json"

    assert check_trial(other) == ()
    assert call(["replay", str(trial)]) == EXIT_TROUBLE
    assert (
        "is not as it was recorded: changed since it was recorded: trial.json"
        in capsys.readouterr().err
    )


def test_a_run_that_was_not_ended_has_nothing_to_hold_its_records_against(tmp_path: Path) -> None:
    stored = store_run(tmp_path, [1.0])
    edited(stored.trials[0].folder, title="other")
    assert check_run(read_run(stored.folder)) == ()
    assert check_trial(tmp_path) == (), "a folder in no run"


@pytest.mark.parametrize(
    "where", ["samples/x.jsonl", "journal.jsonl", "trial.json", "../../run.json"]
)
@pytest.mark.parametrize("device", [False, True])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, where: str, device: bool) -> None:
    """A FIFO has no end to read to, nor has a link to /dev/zero."""
    run = store_run(tmp_path, [1.0])
    [trial] = run.trials
    odd = trial.folder / where
    odd.parent.mkdir(exist_ok=True)
    odd.unlink(missing_ok=True)
    if device:
        odd.symlink_to("/dev/zero")
    else:
        os.mkfifo(odd)
    damaged = read_run(run.folder).damaged
    assert any("not a file" in each.sentence or "no file" in each.sentence for each in damaged)


@pytest.mark.parametrize("where", ["logs/m1.log", "trial.json", "../../run.json"])
def test_a_file_that_would_be_read_for_hours_is_not_read(tmp_path: Path, where: str) -> None:
    run = store_run(tmp_path, [1.0])
    endless = run.trials[0].folder / where
    endless.parent.mkdir(exist_ok=True)
    with endless.open("wb") as file:
        file.truncate(1 << 40)
    [found] = check_run(read_run(run.folder))
    assert "no file that a trial has" in found.sentence or "larger than any" in found.sentence


def test_control_characters_of_a_record_reach_no_terminal(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0])
    [trial] = run.trials
    path = trial.folder / "trial.json"
    record = json.loads(path.read_text())
    record["title"] = "a\x1b[31m title\x9b\x07\nof two lines"
    path.write_text(json.dumps(record))
    [read] = read_run(run.folder).trials
    assert read.record.title == "a[31m title\nof two lines"


def test_control_characters_of_a_run_and_of_names_reach_no_terminal(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0, 2.0])
    record = json.loads((run.folder / "run.json").read_text())
    red = "\x1b[31mred"
    (run.folder / "run.json").write_text(json.dumps({**record, "id": red, "harness": red}))
    unfinished, renamed = (trial.folder for trial in run.trials)
    (unfinished / "trial.json").unlink()
    (unfinished / "journal.jsonl").write_text(json.dumps({"kind": red, "t": red}) + "\n")
    renamed.rename(renamed.with_name(red))
    again = read_run(run.folder)
    assert (again.record.id, again.record.harness) == ("[31mred", "[31mred")
    told = "".join(f"{d.path}: {d.sentence}\n" for d in again.damaged)
    assert "[31mred" in told
    assert "\x1b" not in told

    hostile = run.folder.rename(run.folder.with_name(red))
    with pytest.raises(UsageError, match="is not a valid name for a run") as refused:
        read_run(hostile)
    assert "\x1b" not in str(refused.value)
    assert list_runs(tmp_path) == ()
