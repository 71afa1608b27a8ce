"""Results that are kept under a hash of their inputs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.images import Cache
from harness.snapshots import kept_results
from harness.snapshots.job import GuestJob, JobResult
from harness.snapshots.kept_results import KeptResults
from harness.vm import sparse
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import GuestResult, Outcome

JOB = GuestJob("x.s7", ("scenarios/test_x.py::test_x", "-q"), b"code", 7, {"A": "b"})
SNAPSHOT = Snapshot(Path("snapshot-key"))


@pytest.fixture
def results(tmp_path: Path) -> KeptResults:
    return KeptResults(Cache(tmp_path / "cache"))


def left(folder: Path, *, journal: str = "{}\n", **changes: Any) -> JobResult:
    """What a guest left in ``folder``."""
    trial = folder / JOB.trial
    trial.mkdir(parents=True)
    (trial / "journal.jsonl").write_text(journal)
    (folder / "console.log").write_text("said\n")
    result = GuestResult(Outcome.FINISHED, 0, folder, folder / "console.log", "said", 12.5, 60.0)
    return JobResult(replace(result, **changes), trial, 0.1)


def test_what_was_kept_is_taken_byte_for_byte(results: KeptResults, tmp_path: Path) -> None:
    key = results.key(JOB, SNAPSHOT)
    results.keep(key, left(tmp_path / "first", journal="one\n"))
    taken = results.take(key, JOB, tmp_path / "second")
    assert taken is not None
    assert taken.folder == tmp_path / "second" / JOB.trial
    assert (taken.folder / "journal.jsonl").read_text() == "one\n"
    assert taken.result.console.read_text() == "said\n"
    assert (taken.result.exit_code, taken.result.virtual_seconds) == (0, 12.5)


def test_nothing_is_taken_of_what_was_never_kept(results: KeptResults, tmp_path: Path) -> None:
    assert results.take("key", JOB, tmp_path / "into") is None
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    "changes", [{"outcome": Outcome.HUNG}, {"out_of_step": 1}, {"outcome": Outcome.DIED}]
)
def test_what_did_not_come_to_its_end_in_lockstep_is_not_kept(
    results: KeptResults, tmp_path: Path, changes: dict[str, Any]
) -> None:
    results.keep("key", left(tmp_path / "first", **changes))
    assert results.take("key", JOB, tmp_path / "second") is None


CHANGES: list[dict[str, Any]] = [
    {"args": ("scenarios/test_y.py::test_y",)},
    {"payload": b"other code"},
    {"seed": 8},
    {"environment": {"A": "c"}},
    {"virtual_deadline": 1.0},
    {"warm_up": {"seed": 7, "serving": None}},
    {"trial": "y.s7"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_all_that_a_result_depends_on_is_in_its_key(
    results: KeptResults, change: dict[str, Any]
) -> None:
    assert results.key(replace(JOB, **change), SNAPSHOT) != results.key(JOB, SNAPSHOT)


def test_a_snapshot_is_in_the_key_and_the_walls_deadline_is_not(results: KeptResults) -> None:
    key = results.key(JOB, SNAPSHOT)
    assert results.key(JOB, Snapshot(Path("another"))) != key
    assert results.key(replace(JOB, wall_deadline=1.0), SNAPSHOT) == key


def test_the_longest_unused_goes_when_there_is_no_room(
    results: KeptResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.keep("old", left(tmp_path / "old"))
    kept = results.cache.root / "result" / "old"
    os.utime(kept / kept_results._RESULT, (1000, 1000))
    monkeypatch.setattr(kept_results, "MOST_BYTES", sparse.disk_use(kept) * 3 // 2)
    results.keep("new", left(tmp_path / "new"))
    assert results.take("old", JOB, tmp_path / "into") is None
    assert results.take("new", JOB, tmp_path / "into") is not None
