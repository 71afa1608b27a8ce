"""Runs merged: nothing twice, no order, nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st
from stored_runs import given, store_run, store_trial

from harness.errors import UsageError
from harness.results import RunWriter, read_run
from harness.results.check import check_run
from harness.results.files import fingerprint
from harness.results.merge import merge_runs


def contents(folder: Path) -> dict[str, str]:
    """What a run's trials are, by name."""
    return {t.id: fingerprint(t.folder) for t in read_run(folder).trials}


def shard(root: Path, seeds: Sequence[int], value: float = 1.0, **writer: Any) -> Path:
    made = RunWriter.create(root, command=["pytest", "-k", "x"], harness="1", **writer)
    for seed in seeds:
        store_trial(made, given(seed=seed), {"gap": value + seed})
    return made.folder


def test_shards_become_one_run(tmp_path: Path) -> None:
    shards = [shard(tmp_path / str(n), seeds) for n, seeds in enumerate(([1, 2], [3], [4]))]
    merged = merge_runs(shards, tmp_path / "all")
    run = read_run(merged.folder)
    assert sorted(t.record.inputs.seed for t in run.trials) == [1, 2, 3, 4]
    assert run.damaged == ()
    assert run.record.id == "all"
    assert run.record.command == ("pytest", "-k", "x")
    assert run.record.merged == tuple(sorted({s.name for s in shards}))
    assert merged.trials == 4
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_changed_record_is_still_told_when_it_was_merged(tmp_path: Path) -> None:
    shards = [shard(tmp_path / str(seed), [seed]) for seed in (1, 2)]
    for folder in shards:
        RunWriter(folder, read_run(folder).record).seal()
    [trial] = read_run(shards[0]).trials
    path = trial.folder / "trial.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "title": "other"}))
    merged = read_run(merge_runs(shards, tmp_path / "all").folder)
    again = read_run(merge_runs([merged.folder, *shards[::-1]], tmp_path / "again").folder)
    assert again.record.records == merged.record.records
    assert [d.path.name for d in check_run(again)] == [trial.id]


#: Shards: of each, the seeds and what was measured; equal ones are the same trial.
shards = st.lists(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), max_size=3), min_size=1, max_size=3
)


def build(root: Path, trials: Sequence[tuple[int, int]]) -> Path:
    made = RunWriter.create(root, command=["pytest"], harness="1")
    for seed, value in trials:
        store_trial(made, given(seed=seed), {"gap": float(value)})
    return made.folder


@settings(max_examples=12)
@given_(shards, st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter_and_again_changes_nothing(
    rows: Sequence[list[tuple[int, int]]], chance: Any
) -> None:
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        runs = [build(root / str(number), trials) for number, trials in enumerate(rows)]
        once = merge_runs(runs, root / "once").folder
        mixed = [*runs, *runs, once]
        chance.shuffle(mixed)
        again = merge_runs(mixed, root / "again").folder
        assert contents(again) == contents(once)
        assert set(contents(once).values()) == {f for run in runs for f in contents(run).values()}
        alone = merge_runs([once], root / "alone").folder
        assert read_run(alone).record.trials == read_run(once).record.trials


def test_different_trials_of_one_name_are_both_kept(tmp_path: Path) -> None:
    first, second = shard(tmp_path / "a", [1]), shard(tmp_path / "b", [1], value=50.0)
    run = read_run(merge_runs([first, second], tmp_path / "c").folder)
    names = [t.id for t in run.trials]
    assert sorted(names) == [
        "leader-killed-node.28.5.2.3m2w.s1",
        "leader-killed-node.28.5.2.3m2w.s1-2",
    ]
    assert {t.record.measures[0].value for t in run.trials} == {2.0, 51.0}


def test_unfinished_trials_and_payloads_come_along_and_are_told(tmp_path: Path) -> None:
    first = shard(tmp_path / "a", [1])
    (first / "trials" / "torn").mkdir()
    (first / "trials" / "torn" / "journal.jsonl").write_text('{"t": 1.5, "kind": "fault.inject"}\n')
    (first / "payloads").mkdir()
    (first / "payloads" / "abc.tar").write_text("code")
    merged = merge_runs([first], tmp_path / "c")
    assert (merged.folder / "payloads" / "abc.tar").read_text() == "code"
    [damage] = merged.damage
    assert damage.startswith("torn of ")
    assert "fault.inject" in damage
    assert [d.path.name for d in read_run(merged.folder).damaged] == ["torn"]


def test_links_do_not_lead_out_of_a_run(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("do not copy")
    first = shard(tmp_path / "a", [1])
    [trial] = (first / "trials").iterdir()
    (trial / "link").symlink_to(secret / "key")
    (trial / "folder").symlink_to(secret)
    merged = merge_runs([first], tmp_path / "c").folder
    assert not [p for p in merged.rglob("*") if p.name in {"key", "link", "folder"}]


def test_junit_suites_are_put_together_once(tmp_path: Path) -> None:
    folders = [shard(tmp_path / str(n), [n]) for n in (1, 2)]
    for number, folder in enumerate(folders):
        suite = f'<testsuite name="s{number}" tests="1"><testcase name="a"/></testsuite>'
        (folder / "junit.xml").write_text(f"<testsuites>{suite}</testsuites>")
    merged = merge_runs([*folders, folders[0]], tmp_path / "c")
    suites = ET.parse(merged.folder / "junit.xml").getroot()
    assert sorted(s.get("name", "") for s in suites) == ["s0", "s1"]
    (folders[0] / "junit.xml").write_text("<testsuites>")
    merged = merge_runs(folders, tmp_path / "d")
    assert "junit.xml of" in merged.damage[0]


def test_a_run_that_lost_its_record_is_merged_by_its_trials(tmp_path: Path) -> None:
    first = shard(tmp_path / "a", [1])
    (first / "run.json").unlink()
    merged = merge_runs([first], tmp_path / "c")
    assert len(read_run(merged.folder).trials) == 1
    assert "run.json" in merged.damage[0]


def test_what_cannot_be_merged_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0]).folder
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").write_text("")
    with pytest.raises(UsageError, match="exists already"):
        merge_runs([run], taken)
    with pytest.raises(UsageError, match="there is no run at"):
        merge_runs([run, tmp_path / "none"], tmp_path / "c")
    with pytest.raises(UsageError, match="no run to merge"):
        merge_runs([], tmp_path / "c")
    assert not (tmp_path / "c").exists()
    shutil.rmtree(taken)
    taken.mkdir()
    assert merge_runs([run], taken).folder == taken


@pytest.mark.parametrize(
    ("name", "taken"),
    [("../../escape", None), ("", None), (".hidden", None), ("a/b", None), ("x\0y", "xy")],
)
def test_a_record_cannot_name_its_folder_outside_the_run(
    tmp_path: Path, name: str, taken: str | None
) -> None:
    run = store_run(tmp_path / "a", [1.0])
    path = run.trials[0].folder / "trial.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "id": name}))
    merged = merge_runs([run.folder], tmp_path / "c")
    assert [t.id for t in read_run(merged.folder).trials] == [taken or run.trials[0].id]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "c"]
