"""``job.json``: what is written beside a trial comes back complete, or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TrialError
from harness.snapshots.job import JOB_RECORD_FILE, GuestJob, JobRecord

SNAPSHOT: Any = SimpleNamespace(key="0123abc")
JOB = GuestJob(
    trial="leader-killed.26.1.5.3m2w.s7",
    args=("scenarios/test_x.py::test_x[stable-s7]", "-q"),
    payload=b"the code",
    seed=7,
    environment={"SWARM_CHAOS_CLOCK": "virtual"},
    virtual_deadline=300.0,
    wall_deadline=3600.5,
)


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """A trial's folder in a run's."""
    folder = tmp_path / "run" / "trials" / JOB.trial
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def saved(trial: Path) -> Path:
    JobRecord.of(JOB, SNAPSHOT).save(trial)
    return trial


def kept(trial: Path) -> Path:
    [payload] = (trial.parent.parent / "payloads").iterdir()
    return payload


def test_what_was_saved_is_loaded(saved: Path) -> None:
    loaded = JobRecord.load(saved)
    assert loaded.job == JOB
    assert loaded.snapshot == SNAPSHOT.key
    assert loaded.payload == hashlib.sha256(b"the code").hexdigest()


NAMES = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None, max_examples=50)
@given(
    args=st.lists(NAMES, max_size=4).map(tuple),
    payload=st.binary(max_size=200),
    seed=st.integers(0, 2**63),
    environment=st.dictionaries(NAMES, NAMES, max_size=3),
    deadlines=st.tuples(st.floats(0.1, 1e6), st.floats(0.1, 1e6)),
)
def test_every_job_survives_the_way_through_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    args: Any,
    payload: Any,
    seed: Any,
    environment: Any,
    deadlines: Any,
) -> None:
    folder = tmp_path_factory.mktemp("run") / "trials" / "x"
    folder.mkdir(parents=True)
    job = GuestJob("x", args, payload, seed, environment, *deadlines)
    JobRecord.of(job, SNAPSHOT).save(folder)
    assert JobRecord.load(folder).job == job


def test_trials_of_one_run_share_the_code_they_were_sent_with(saved: Path) -> None:
    other = saved.with_name("another")
    other.mkdir()
    JobRecord.of(JOB, SNAPSHOT).save(other)
    assert kept(saved).read_bytes() == b"the code"
    assert JobRecord.load(other).payload == JobRecord.load(saved).payload


def test_a_run_that_was_moved_can_be_loaded(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "run").rename(tmp_path / "moved")
    assert JobRecord.load(tmp_path / "moved" / "trials" / JOB.trial).job == JOB


def refused(trial: Path) -> str:
    with pytest.raises(TrialError) as refusal:
        JobRecord.load(trial)
    assert str(trial) in str(refusal.value)
    return str(refusal.value)


def test_a_trial_without_a_job_record_is_refused_with_what_it_lacks(trial: Path) -> None:
    assert JOB_RECORD_FILE in refused(trial)


def test_a_trial_whose_code_is_gone_is_refused(saved: Path) -> None:
    kept(saved).unlink()
    assert "payloads" in refused(saved)


def test_code_that_was_changed_is_refused(saved: Path) -> None:
    kept(saved).write_bytes(b"the cods")
    assert "not the code it was recorded with" in refused(saved)


@pytest.mark.parametrize(
    "missing",
    [
        *("args", "environment", "payload", "seed"),
        *("snapshot", "trial", "virtual_deadline", "wall_deadline"),
    ],
)
def test_a_job_record_that_lacks_something_is_refused(saved: Path, missing: Any) -> None:
    facts = json.loads((saved / JOB_RECORD_FILE).read_text())
    del facts[missing]
    (saved / JOB_RECORD_FILE).write_text(json.dumps(facts))
    assert "cannot be run again" in refused(saved)


@pytest.mark.parametrize(
    "written", ["", "{", "[]", "null", "7", '"x"', "\xff", '{"payload": 3, "args": 1}']
)
def test_a_job_record_that_is_none_is_refused(saved: Path, written: str) -> None:
    (saved / JOB_RECORD_FILE).write_text(written, encoding="latin-1")
    assert "cannot be run again" in refused(saved)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_torn_job_record_is_refused_or_read_completely(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    trial = tmp_path_factory.mktemp("run") / "trials" / "x"
    trial.mkdir(parents=True)
    JobRecord.of(JOB, SNAPSHOT).save(trial)
    whole = (trial / JOB_RECORD_FILE).read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    (trial / JOB_RECORD_FILE).write_bytes(whole[:cut])
    try:
        assert JobRecord.load(trial).job == JOB
    except TrialError:
        assert whole[:cut].strip() != whole.strip()
