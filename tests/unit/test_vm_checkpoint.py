"""Checkpoints in a cache: found by what led there, of no use without their snapshot, removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.clean import of_checkpoints
from harness.cli.snapshots import snapshots as list_snapshots
from harness.images import Cache
from harness.vm import seal
from harness.vm.checkpoint import (
    Checkpoint,
    checkpoints,
    find,
    key_of,
    prune_checkpoints,
    store_of,
)
from harness.vm.machine import Machine

MACHINE = {"qemu": "10.0", "machine": Machine().facts()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache with one snapshot, ``base``."""
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path))
    folder = tmp_path / "snapshot" / "base"
    folder.mkdir(parents=True)
    seal.seal(folder, {"facts": MACHINE, "frozen_at": 1000.0})
    return Cache()


def kept(cache: Cache, seed: int, *, base: str = "base", used_at: float = 0.0) -> Checkpoint:
    """A checkpoint as one that was kept, of 64 KiB."""
    facts = {"base": base, "seed": seed}
    folder = store_of(cache) / key_of(facts)
    folder.mkdir(parents=True)
    (folder / "ram.pages").write_bytes(os.urandom(1 << 16))
    (folder / "state").write_bytes(b"devices")
    note = {"what": "a swarm that serves web", "seed": str(seed)}
    seal.seal(
        folder, {"facts": {**facts, **MACHINE}, "note": note, "frozen_at": 1.0, "digest": "d"}
    )
    os.utime(folder / seal.MANIFEST, (used_at, used_at))
    return Checkpoint(folder)


def test_a_checkpoint_is_found_by_what_led_there_and_by_nothing_else(cache: Cache) -> None:
    checkpoint = kept(cache, 1)
    assert find(cache, {"base": "base", "seed": 1}) == checkpoint
    assert find(cache, {"base": "base", "seed": 2}) is None
    assert checkpoint.machine == Machine()
    assert checkpoint.base.key == "base"


def test_one_that_is_damaged_or_has_no_snapshot_is_not_found_and_goes(cache: Cache) -> None:
    whole, orphan, cut = kept(cache, 1), kept(cache, 2, base="gone"), kept(cache, 3)
    (cut.folder / "ram.pages").write_bytes(b"short")
    assert find(cache, {"base": "gone", "seed": 2}) is None
    assert find(cache, {"base": "base", "seed": 3}) is None
    assert checkpoints(cache) == [whole]
    listed = {leftover.where for leftover in of_checkpoints(cache)}
    assert listed == {str(orphan.folder), str(cut.folder)}
    assert set(prune_checkpoints(cache, most_bytes=1 << 30)) == {orphan.key, cut.key}
    assert [path.name for path in store_of(cache).iterdir()] == [whole.key]


def test_the_longest_unused_go_when_there_is_no_room(cache: Cache) -> None:
    old, new = kept(cache, 1, used_at=1000.0), kept(cache, 2, used_at=2000.0)
    assert prune_checkpoints(cache, most_bytes=100 << 10) == [old.key]
    assert checkpoints(cache) == [new]
    new.touch()
    assert new.used_at > 2000


def test_a_half_kept_one_is_no_checkpoint_and_goes_after_an_hour(cache: Cache) -> None:
    half = store_of(cache) / ".keeping-key-x1y2"
    half.mkdir(parents=True)
    assert list(of_checkpoints(cache)) == []
    os.utime(half, (1000, 1000))
    assert [leftover.where for leftover in of_checkpoints(cache)] == [str(half)]
    prune_checkpoints(cache, most_bytes=0)
    assert not half.exists()


def test_checkpoints_are_listed_with_their_snapshot_and_go_with_it(cache: Cache) -> None:
    checkpoint = kept(cache, 7)
    done = CliRunner().invoke(list_snapshots, [], catch_exceptions=False)
    [line] = [line for line in done.stdout.splitlines() if checkpoint.key in line]
    assert line.split()[:2] == [checkpoint.key, "base"]
    assert "a swarm that serves web" in line
    CliRunner().invoke(list_snapshots, ["--prune", "--keep", "0"], catch_exceptions=False)
    assert not checkpoint.folder.exists()
