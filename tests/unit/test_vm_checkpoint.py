"""Checkpoints in a cache: found by what led there, in use and at rest, of no use without a base."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner
from filelock import Timeout

from harness.cli.clean import of_checkpoints
from harness.cli.snapshots import snapshots as list_snapshots
from harness.errors import MicrovmError
from harness.images import Cache
from harness.vm import checkpoint as checkpoint_module
from harness.vm import seal
from harness.vm.checkpoint import (
    DELTAS,
    Checkpoint,
    RunLock,
    checkpoints,
    digest_now,
    discard,
    find,
    key_of,
    prune_checkpoints,
    rest,
    rest_after_run,
    store_of,
)
from harness.vm.machine import Machine
from harness.vm.memory_delta import PAGE
from harness.vm.qemu_process import Emulator
from harness.vm.snapshot import Snapshot

PAGES = 64


@dataclass
class Guest:
    """What of a QEMU is kept: this process has the base mapped as it would."""

    cache: Cache
    base: Snapshot
    memory: dict[str, mmap.mmap]
    folder: Path

    @property
    def emulator(self) -> Emulator:
        def save_devices(path: Path) -> None:
            path.write_bytes(b"QEVM\x05timer" + struct.pack(">II", 0, 2) + b"times" * 20)

        process = SimpleNamespace(pid=os.getpid())
        return cast(
            "Emulator",
            SimpleNamespace(process=process, save_devices=save_devices, cpu_seconds=lambda: 12.5),
        )

    def keep(self, seed: int, *, base: str = "base", used_at: float = 1000.0) -> Checkpoint:
        facts: dict[str, Any] = {"base": base, "seed": seed}
        note = {"what": "a swarm that serves web", "seed": str(seed)}
        kept = checkpoint_module.keep(self.emulator, self.base, self.folder, facts, note=note)
        os.utime(kept.folder / "about.json", (used_at, used_at))
        return kept

    @property
    def content(self) -> dict[str, bytes]:
        return {name: memory[:] for name, memory in self.memory.items()}


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    """A guest that has changed a third of its memory and a page of its root file system."""
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path / "cache"))
    base = tmp_path / "cache" / "snapshot" / "base"
    base.mkdir(parents=True)
    for name in DELTAS:
        (base / name).write_bytes(b"".join(os.urandom(64) * 64 for _ in range(PAGES)))
    seal.seal(base, {"facts": {"qemu": "10.0", "machine": Machine().facts()}, "frozen_at": 1000.0})
    run = tmp_path / "run"
    run.mkdir()
    (run / "inbox").write_bytes(b"payload")
    (run / "console.log").write_text("booted\n")
    with contextlib.ExitStack() as stack:
        memory = {}
        for name in DELTAS:
            file = stack.enter_context((base / name).open("r+b"))
            memory[name] = stack.enter_context(mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE))
        for page in range(0, PAGES, 3):
            memory["ram"][page * PAGE : page * PAGE + 4] = b"seen"
        memory["root"][7 * PAGE] ^= 1
        yield Guest(Cache(), Snapshot(base), memory, run)


def thawed(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The memory that QEMU would have: the base's with the checkpoint's pages over it."""
    found = {}
    with checkpoint.pages() as pages:
        for name in DELTAS:
            whole = bytearray((checkpoint.base.folder / name).read_bytes())
            content = (pages / f"{name}.pages").read_bytes()
            index = np.fromfile(pages / f"{name}.index", dtype="<i8").reshape(-1, 3)
            for first, count, at in index:
                part = content[at * PAGE : (at + count) * PAGE]
                whole[first * PAGE : (first + count) * PAGE] = part
            found[name] = bytes(whole)
    return found


def reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "_boot_id", lambda: "another-boot")


def test_a_checkpoint_is_found_by_what_led_there_and_by_nothing_else(guest: Guest) -> None:
    checkpoint = guest.keep(1)
    assert find(guest.cache, {"base": "base", "seed": 1}) == checkpoint
    assert find(guest.cache, {"base": "base", "seed": 2}) is None
    assert checkpoint.machine == Machine()
    assert checkpoint.base == guest.base
    assert checkpoint.note["seed"] == "1"
    assert checkpoint.cpu_seconds == 12.5


def test_it_is_the_machine_in_use_at_rest_and_unpacked_again(guest: Guest) -> None:
    checkpoint = guest.keep(1)
    digest = digest_now(guest.emulator, guest.base, guest.folder)
    assert thawed(checkpoint) == guest.content
    assert checkpoint.digest == digest
    in_use = checkpoint.disk_bytes
    checkpoint.rest()
    assert (checkpoint.whole, checkpoint.in_use) == (True, False)
    assert checkpoint.disk_bytes < in_use
    assert seal.damage(checkpoint.folder, contents=True) == ""
    assert thawed(checkpoint) == guest.content
    assert Checkpoint(checkpoint.folder).digest == digest
    manifest = (checkpoint.folder / seal.MANIFEST).stat()
    checkpoint.rest()
    assert (checkpoint.folder / seal.MANIFEST).stat() == manifest, "it was packed twice"
    assert not [*checkpoint.folder.glob("pages-*")]


def test_in_use_it_does_not_outlive_the_kernel_and_at_rest_it_does(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, kept, unpacked = guest.keep(1), guest.keep(2), guest.keep(3)
    kept.rest()
    unpacked.rest()
    thawed(unpacked)
    reboot(monkeypatch)
    assert find(guest.cache, {"base": "base", "seed": 1}) is None
    assert {leftover.where for leftover in of_checkpoints(guest.cache)} == {str(lost.folder)}
    assert {each.key for each in checkpoints(guest.cache)} == {kept.key, unpacked.key}
    assert not unpacked.in_use, "pages that were never synced were taken for whole"
    assert thawed(unpacked) == guest.content
    assert len([*unpacked.folder.glob("pages-*")]) == 1
    again = guest.keep(1)
    assert again == lost
    assert thawed(again) == guest.content


@pytest.mark.parametrize("left", [".unpacking", ".ram.pages.zst.17.part"])
def test_what_a_kill_left_in_it_goes(guest: Guest, left: str) -> None:
    checkpoint = guest.keep(1)
    if left.endswith(".part"):
        (checkpoint.folder / left).write_bytes(b"half")
    checkpoint.rest()
    if left == ".unpacking":
        (checkpoint.folder / left).mkdir()
        (checkpoint.folder / left / "ram.pages").write_bytes(b"half")
    assert thawed(checkpoint) == guest.content
    checkpoint.rest()
    assert not (checkpoint.folder / left).exists()
    assert checkpoint.whole


def test_without_its_seal_it_is_packed_again(guest: Guest) -> None:
    checkpoint = guest.keep(1)
    checkpoint.rest()
    thawed(checkpoint)
    (checkpoint.folder / seal.MANIFEST).write_text("{")
    assert checkpoint.whole, "its pages are there"
    checkpoint.rest()
    assert checkpoint.whole
    assert thawed(checkpoint) == guest.content


@pytest.mark.parametrize("where", ["the middle", "the end"])
def test_damage_at_rest_is_seen_when_it_is_unpacked_and_it_is_made_again(
    guest: Guest, where: str
) -> None:
    checkpoint = guest.keep(1)
    checkpoint.rest()
    packed = checkpoint.folder / "ram.pages.zst"
    content = bytearray(packed.read_bytes())
    content[-1 if where == "the end" else len(content) // 2] ^= 1
    packed.write_bytes(content)
    with pytest.raises(MicrovmError, match=r"(?s)damaged.*run this again"):
        thawed(checkpoint)
    assert find(guest.cache, {"base": "base", "seed": 1}) is None
    assert thawed(guest.keep(1)) == guest.content


@contextlib.contextmanager
def being_thawed(checkpoint: Checkpoint) -> Iterator[None]:
    """Another thread maps its pages in this block, and finds them there when it ends."""
    held, done = threading.Event(), threading.Event()
    there: list[bool] = []

    def thaw() -> None:
        with checkpoint.pages() as pages:
            held.set()
            done.wait(30)
            there.append((pages / "ram.pages").exists())

    thread = threading.Thread(target=thaw)
    thread.start()
    held.wait(30)
    yield
    done.set()
    thread.join()
    assert there == [True]


def test_one_that_is_thawed_just_now_is_not_brought_to_rest(guest: Guest) -> None:
    busy, idle = guest.keep(1), guest.keep(2)
    with being_thawed(busy):
        rest(guest.cache)
        assert (busy.in_use, idle.in_use) == (True, False)
    rest(guest.cache)
    assert [checkpoint.in_use for checkpoint in (busy, idle)] == [False, False]


def test_one_that_is_thawed_just_now_is_not_removed(guest: Guest) -> None:
    busy, idle = guest.keep(1), guest.keep(2)
    with being_thawed(busy):
        with pytest.raises(Timeout):
            discard(busy, within=0)
        assert prune_checkpoints(guest.cache, most_bytes=0) == [idle.key]
        (busy.folder / "about.json").write_text("{")  # as if it were damaged, or made anew
        assert list(of_checkpoints(guest.cache)) == []
    assert [leftover.where for leftover in of_checkpoints(guest.cache)] == [str(busy.folder)]
    discard(busy)
    assert not busy.folder.exists()


#: A run of another process: it says that it holds the lock, and does until its input ends.
ANOTHER_RUN = """
import sys
from harness.images import Cache
from harness.vm.checkpoint import RunLock

lock = RunLock(Cache())
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_the_end_of_a_run_leaves_the_checkpoints_of_another_as_they_are(guest: Guest) -> None:
    checkpoint, own = guest.keep(1), RunLock(guest.cache)
    own.acquire()
    other = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        own.release()
        rest_after_run(guest.cache)
        assert checkpoint.in_use
        other.kill()
        other.wait()
        rest_after_run(guest.cache)
    assert (checkpoint.whole, checkpoint.in_use) == (True, False)


def test_of_a_cache_that_is_read_only_no_run_has_the_lock(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("a file where the folder would be made")
    lock = RunLock(Cache(tmp_path))
    lock.acquire()
    lock.release()
    rest_after_run(Cache(tmp_path))


def test_those_used_last_stay_in_use(guest: Guest) -> None:
    made = [guest.keep(seed, used_at=1000.0 + seed) for seed in range(4)]
    rest(guest.cache, in_use=2)
    assert [checkpoint.in_use for checkpoint in made] == [False, False, True, True]


def test_one_that_is_damaged_or_has_no_snapshot_is_not_found_and_goes(guest: Guest) -> None:
    whole, orphan, cut = guest.keep(1), guest.keep(2, base="gone"), guest.keep(3)
    cut.rest()
    (cut.folder / "root.pages.zst").write_bytes(b"short")
    assert find(guest.cache, {"base": "gone", "seed": 2}) is None
    assert find(guest.cache, {"base": "base", "seed": 3}) is None
    assert checkpoints(guest.cache) == [whole]
    listed = {leftover.where for leftover in of_checkpoints(guest.cache)}
    assert listed == {str(orphan.folder), str(cut.folder)}
    assert set(prune_checkpoints(guest.cache, most_bytes=1 << 30)) == {orphan.key, cut.key}
    assert [path.name for path in store_of(guest.cache).glob("[!.]*")] == [whole.key]


def test_one_of_an_older_harness_goes(guest: Guest) -> None:
    old = store_of(guest.cache) / key_of({"base": "base", "seed": 1})
    old.mkdir(parents=True)
    (old / "ram.pages").write_bytes(b"x")
    facts = {"qemu": "10.0", "machine": Machine().facts(), "base": "base"}
    seal.seal(old, {"facts": facts, "note": {}, "frozen_at": 1.0, "digest": "d"})
    assert checkpoints(guest.cache) == []
    assert prune_checkpoints(guest.cache, most_bytes=1 << 30) == [old.name]


def test_the_longest_unused_go_when_there_is_no_room(guest: Guest) -> None:
    old, new = guest.keep(1, used_at=1000.0), guest.keep(2, used_at=2000.0)
    assert prune_checkpoints(guest.cache, most_bytes=new.disk_bytes) == [old.key]
    assert checkpoints(guest.cache) == [new]
    new.touch()
    assert new.used_at > 2000


def test_a_half_kept_one_is_no_checkpoint_and_goes_after_an_hour(guest: Guest) -> None:
    half = store_of(guest.cache) / ".keeping-key-x1y2"
    half.mkdir(parents=True)
    assert list(of_checkpoints(guest.cache)) == []
    os.utime(half, (1000, 1000))
    assert [leftover.where for leftover in of_checkpoints(guest.cache)] == [str(half)]
    prune_checkpoints(guest.cache, most_bytes=0)
    assert not half.exists()


def test_checkpoints_are_listed_with_their_snapshot_and_go_with_it(guest: Guest) -> None:
    checkpoint, resting = guest.keep(7), guest.keep(8)
    resting.rest()
    done = CliRunner().invoke(list_snapshots, [], catch_exceptions=False)
    [line] = [line for line in done.stdout.splitlines() if checkpoint.key in line]
    assert line.split()[:2] == [checkpoint.key, "base"]
    assert "a swarm that serves web" in line
    assert "in use" in line
    listed = json.loads(CliRunner().invoke(list_snapshots, ["--json"]).stdout)
    in_use = {row["key"]: row["in_use"] for row in listed if "in_use" in row}
    assert in_use == {checkpoint.key: True, resting.key: False}
    CliRunner().invoke(list_snapshots, ["--prune", "--keep", "0"], catch_exceptions=False)
    assert not checkpoint.folder.exists()
