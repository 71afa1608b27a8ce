"""Runs on disk: made, read back, and read as far as they go when damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.results import (
    RunWriter,
    journal,
    latest_run,
    list_runs,
    read_run,
    samples,
    trial_id,
)
from harness.trial import EngineFacts, Expectation, Trial, TrialInputs

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def make_inputs(
    scenario: str = "scenarios/test_x.py::test_leader_killed", **changes: Any
) -> TrialInputs:
    facts = EngineFacts(name="stable", version="26.1.5", source="here", digest="0")
    made = TrialInputs(
        scenario=scenario, engine=facts, topology="3m2w", lab="namespaces", kernel="6.1",
        clock="real", seed=7,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def make_writer(root: Path) -> RunWriter:
    return RunWriter.create(root, command=["pytest", "scenarios/"], harness="0.1", started=NOON)


def make_trial(writer: RunWriter, **changes: Any) -> Path:
    given_inputs = make_inputs(**changes)
    trial = Trial(writer.trial_folder(given_inputs), given_inputs)
    trial.measures(Expectation("gap", unit="s", at_most=2), 1.5)
    trial.write_samples("requests", [{"t": 1.0}, {"t": 2.0}])
    trial.finish(None)
    return trial.folder


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    second = make_trial(writer, seed=2)
    first = make_trial(writer, seed=1)
    run = read_run(writer.folder)
    assert run.record.id == "20261123T120000Z"
    assert run.record.started == "2026-11-23T12:00:00+00:00"
    assert run.record.command == ("pytest", "scenarios/")
    assert [t.folder for t in run.trials] == [second, first]
    assert run.trials[0].record.measures[0].value == 1.5
    assert run.damaged == ()


def test_a_taken_stamp_and_a_taken_trial_name_get_a_number(tmp_path: Path) -> None:
    make_writer(tmp_path)
    writer = make_writer(tmp_path)
    assert writer.folder.name == "20261123T120000Z-2"
    names = [writer.trial_folder(make_inputs()).name for _ in range(2)]
    assert names == ["leader-killed.26.1.5.3m2w.s7", "leader-killed.26.1.5.3m2w.s7-2"]


def test_a_control_is_named_as_one() -> None:
    assert trial_id(make_inputs(control=True)) == "leader-killed.26.1.5.3m2w.s7.control"


def test_latest_points_at_the_youngest_run(tmp_path: Path) -> None:
    for _ in range(11):
        writer = make_writer(tmp_path)
    assert (tmp_path / "latest").resolve() == writer.folder.resolve()
    assert latest_run(tmp_path).name == "20261123T120000Z-11"
    runs = list_runs(tmp_path)
    assert [r.name.partition("-")[2] for r in runs] == ["", *map(str, range(2, 12))]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_no_runs_is_said_in_a_sentence(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == ()
    with pytest.raises(UsageError, match="no run under"):
        latest_run(tmp_path)
    with pytest.raises(UsageError, match="there is no run at"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is not a run"):
        read_run(tmp_path)


def test_a_trial_cut_short_tells_how_far_it_came_and_the_rest_is_read(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    whole = make_trial(writer, seed=1)
    given_inputs = make_inputs(seed=2)
    trial = Trial(writer.trial_folder(given_inputs), given_inputs)
    trial.journal.write("fault.inject", id="f1", fault="kill", target="m1")
    trial.journal.close()
    empty = writer.trial_folder(make_inputs(seed=3))
    run = read_run(writer.folder)
    assert [t.folder for t in run.trials] == [whole]
    told = {d.path: d.sentence for d in run.damaged}
    assert "did not finish" in told[trial.folder]
    assert "fault.inject at" in told[trial.folder]
    assert "left no record" in told[empty]


def test_a_broken_trial_record_and_a_newer_one_are_told(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    broken, newer, listed = (make_trial(writer, seed=n) for n in (1, 2, 3))
    (broken / "trial.json").write_text('{"schema": 1, "id": ')
    (newer / "trial.json").write_text('{"schema": 99}')
    for path in sorted(listed.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    listed.rmdir()
    told = {d.path: d.sentence for d in read_run(writer.folder).damaged}
    assert "not a valid trial record" in told[broken]
    assert "schema 99" in told[newer]
    assert "folder is missing" in told[listed]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 2}', '{"schema": 1}', "\udcff"])
def test_a_broken_run_record_does_not_hide_the_trials(tmp_path: Path, text: str) -> None:
    writer = make_writer(tmp_path)
    make_trial(writer)
    (writer.folder / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    run = read_run(writer.folder)
    assert len(run.trials) == 1
    assert run.record.id == writer.folder.name
    assert [d.path.name for d in run.damaged] == ["run.json"]


def test_trials_that_the_run_does_not_list_are_read_too(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    make_trial(writer)
    (writer.folder / "run.json").unlink()
    run = read_run(writer.folder)
    assert len(run.trials) == 1
    assert "missing" in run.damaged[0].sentence


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", ".", "", "a/b"])
def test_a_run_cannot_name_folders_outside_itself(tmp_path: Path, name: str) -> None:
    writer = make_writer(tmp_path)
    path = writer.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trials": [name]}))
    run = read_run(writer.folder)
    assert run.trials == ()
    assert "not a valid folder name" in run.damaged[0].sentence


def test_line_files_are_read_up_to_the_damage(tmp_path: Path) -> None:
    folder = make_trial(make_writer(tmp_path))
    assert [r["t"] for r in samples(folder, "requests").rows] == [1.0, 2.0]
    assert samples(folder, "no such probe").rows == ()
    (folder / "samples" / "requests.jsonl").write_text('{"t": 1}\nnonsense\n{"t": 3}\n')
    torn = samples(folder, "requests")
    assert torn.rows == ({"t": 1},)
    assert torn.damage.startswith("requests.jsonl, line 2")
    (folder / "journal.jsonl").unlink()
    assert "journal.jsonl" in journal(folder).damage


@given(st.text(), st.text(), st.text())
def test_a_trial_id_is_one_plain_path_component(scenario: str, version: str, topology: str) -> None:
    facts = EngineFacts(name="x", version=version, source="", digest="")
    name = trial_id(make_inputs(scenario, engine=facts, topology=topology))
    assert Path(name).name == name
    assert name.isascii()
    assert not name.startswith(".")


def test_a_run_without_trials_is_taken_back(tmp_path: Path) -> None:
    older = RunWriter.create(tmp_path, command=["pytest"], harness="1")
    newer = RunWriter.create(tmp_path, command=["pytest"], harness="1")

    newer.discard()

    assert not newer.folder.exists()
    assert (tmp_path / "latest").resolve() == older.folder
    older.discard()
    assert not (tmp_path / "latest").is_symlink()
