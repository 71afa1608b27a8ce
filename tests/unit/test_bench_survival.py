"""Chaos on the harness: what counts as survived, and what does not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.bench import survival
from harness.bench.survival import (
    COMMANDS,
    CONDITIONS,
    STRIKES,
    Attempt,
    Survival,
    longest_hole,
    marked,
    wrong_verdicts,
)
from harness.errors import MissingError
from harness.images import Cache
from harness.wait import NotYet, wait_for


def trial(reports: Path, name: str, verdict: str, *late: float) -> None:
    folder = reports / "20261129T000000Z/trials" / name
    (folder / "samples").mkdir(parents=True)
    (folder / "trial.json").write_text(json.dumps({"verdict": verdict}))
    rows = [json.dumps({"t": 1.0, "late_s": seconds}) for seconds in late]
    (folder / "samples/harness.jsonl").write_text("\n".join(rows))


def test_a_verdict_is_wrong_that_nothing_in_the_swarm_has_caused(tmp_path: Path) -> None:
    trial(tmp_path, "calm", "pass", 0.1, 0.2)
    trial(tmp_path, "doubted", "unknown", 8.0)
    trial(tmp_path, "blind", "pass", 0.1, 8.0)
    trial(tmp_path, "condemned", "fail", 0.1)
    (tmp_path / "20261129T000000Z/trials/torn").mkdir()
    (tmp_path / "20261129T000000Z/trials/torn/trial.json").write_text("{")
    assert list(wrong_verdicts(tmp_path)) == ["blind: pass", "condemned: fail"]
    assert longest_hole(tmp_path / "none") == 0


def test_what_an_attempt_has_started_is_known_by_its_mark() -> None:
    mark = f"test-{os.getpid()}"
    environment = {**os.environ, "SWARM_CHAOS_SURVIVAL": mark}
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(program, env=environment) as process:
        wait_for(lambda: marked(mark) or NotYet("none"), state="a process", within=10)
        assert [name.split()[0] for name in marked(mark)] == [str(process.pid)]
        process.kill()
    assert marked(mark) == []


def test_a_half_built_entry_is_found_by_the_name_that_clean_has_for_it() -> None:
    listed = "would remove half-built cache entry /c/engine-tree/trixie-r1\n"
    assert survival.is_listed("/c/engine-tree/.trixie-r1.building-vb5vw_2_", listed)
    assert not survival.is_listed("/c/engine-tree/.sid-r1.building-vb5vw_2_", listed)
    assert survival.is_listed("/t/scratch-1", "would remove folder /t/scratch-1\n")


def test_a_bit_is_flipped_in_a_file_that_has_one(tmp_path: Path) -> None:
    entry = tmp_path / "cache/kind/key"
    entry.mkdir(parents=True)
    (entry / "a").touch()
    (entry / "b").write_bytes(b"\0\0")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        for seed in range(5):
            survival.Running(process, tmp_path, random.Random(seed)).flip()
        process.kill()
    assert (entry / "a").read_bytes() == b""
    assert (entry / "b").read_bytes() != b"\0\0"


@pytest.mark.parametrize(
    ("attempt", "survived"),
    [
        (Attempt(1, "run", "TERM", 1.0, 143), True),
        (Attempt(1, "run", "TERM", 1.0, 143, left=("/x",)), False),
        (Attempt(1, "run", "TERM", 1.0, 0, wrong=("x: fail",)), False),
        (Attempt(1, "run", "TERM", 1.0, None, trouble="it hung for 30 s"), False),
    ],
)
def test_survived_is_nothing_left_wrong_or_in_trouble(attempt: Attempt, survived: bool) -> None:
    assert attempt.survived is survived


def test_all_that_can_happen_is_drawn_within_two_hundred_attempts() -> None:
    drawn = set()
    for number in range(200):
        chance = random.Random(f"1/{number}")
        chance.choice([*COMMANDS, *["run"] * survival._RUNS])
        drawn.add(chance.choice([*STRIKES, *CONDITIONS]))
    assert drawn == {*STRIKES, *CONDITIONS}


def test_it_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="needs root"):
        next(Survival(1, Cache(tmp_path)).attempts(1, 1))


@pytest.mark.parametrize("kind", ["hang", "traceback", "leave", "fine"])
def test_what_goes_wrong_is_seen(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that misbehaves, in place of the harness's own; nothing is mounted."""
    programs = {
        "hang": "import time; time.sleep(60)",
        "traceback": "raise ValueError('no')",
        "leave": "import os; os.mkdir(os.environ['TMPDIR'] + '/mine')",
        "fine": "pass",
    }

    def start(
        _survival: Survival, _command: str, place: Path, mark: str, *_: object, **__: object
    ) -> survival.Running:
        environment = {**os.environ, "SWARM_CHAOS_SURVIVAL": mark, "TMPDIR": str(place / "tmp")}
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", programs[kind]],
                env=environment,
                stderr=log,
                start_new_session=True,
            )
        return survival.Running(process, place, random.Random(1))

    monkeypatch.setattr(Survival, "_start", start)
    monkeypatch.setattr(Survival, "_undisturbed", lambda *_: tmp_path)
    monkeypatch.setattr(survival, "_GONE_WITHIN", 3.0)
    monkeypatch.setattr(survival, "STRIKES", {"nothing": lambda _: None})
    monkeypatch.setattr(survival, "CONDITIONS", ())
    monkeypatch.setattr("os.geteuid", lambda: 0)
    made = Survival(1, Cache(tmp_path / "cache"), keep=tmp_path / "kept")
    made._needed = dict.fromkeys(COMMANDS, 0.0)
    began = time.monotonic()
    [attempt] = made.attempts(1, 60)
    assert attempt.survived is (kind == "fine")
    match kind:
        case "hang":
            assert "hung" in attempt.trouble
            assert time.monotonic() - began < 20
        case "traceback":
            assert "traceback" in attempt.trouble
            assert "ValueError" in Path(attempt.log).read_text()
        case "leave":
            [left] = attempt.left
            assert left.endswith("/tmp/mine")
