"""Which checkpoint of a recorded trial is meant by a time, and where replays part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import TrialError
from harness.snapshots.branching import point_before, points_of
from harness.snapshots.replay import Replayed, first_parting


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    entries = [
        {"t": 0.5, "kind": "swarm.formed"},
        {"t": 38.651234, "kind": "load.start"},
        {"t": 38.95, "kind": "fault.inject"},
        {"t": 101.5, "kind": "fault.healed"},
        {"t": 110.0, "kind": "checkpoint", "name": "all is over"},
    ]
    journal = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "journal.jsonl").write_text(journal)
    return tmp_path


def test_the_last_checkpoint_before_a_time_is_meant(trial: Path) -> None:
    assert points_of(trial) == [
        *("38.6512 load.start", "38.95 fault.inject", "101.5 fault.healed", "110 checkpoint")
    ]
    assert point_before(trial, 38.9) == "38.6512 load.start"
    assert point_before(trial, 38.95) == "38.95 fault.inject"
    assert point_before(trial, 109) == "101.5 fault.healed"
    assert point_before(trial, 1000) == "110 checkpoint"


def test_before_the_first_checkpoint_there_is_none(trial: Path) -> None:
    with pytest.raises(TrialError, match=r"up to 3 s: the first is at 38\.6512 load\.start"):
        point_before(trial, 3)


def replayed(*digests: tuple[str, str]) -> Replayed:
    return Replayed(None, "", 1.0, digests=digests)


def test_replays_part_between_two_checkpoints() -> None:
    one = replayed(("1 a", "x"), ("2 b", "y"), ("3 c", "z"))
    assert first_parting([one, one]) is None
    assert first_parting([one, replayed(("1 a", "w"))]) == ("the thaw", "1 a")
    other = replayed(("1 a", "x"), ("2 b", "q"), ("3 c", "r"))
    assert first_parting([one, one, other]) == ("1 a", "2 b")
    assert first_parting([one, replayed(("1 a", "x"), ("2 b", "y"))]) == ("2 b", "the end")
