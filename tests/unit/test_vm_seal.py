"""Seals: what a frozen machine looked like is known, and what happened to it since is seen."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli.clean import clean
from harness.cli.snapshots import snapshots as command
from harness.errors import MicrovmError
from harness.files import is_draft
from harness.images import Cache
from harness.vm import seal, snapshot
from harness.vm.guest_image import GuestImage
from harness.vm.machine import Machine
from harness.vm.snapshot import FreezeSpec, Snapshot, freeze, set_aside_if_damaged, snapshots

FACTS = {"facts": {"qemu": "10.0", "machine": Machine().facts()}, "frozen_at": 1000.0}
BLOCK = 1 << 16
NAMES = [
    *("facts", "qemu", "machine", "clock", "accelerator", "cpus", "note", "parts", "seal"),
    *("frozen_at", "wall_seconds", "ram", "size", "sha256", "x"),
]


def sealed(folder: Path) -> Snapshot:
    """A snapshot whose memory is mostly a hole, as a guest's is."""
    folder.mkdir(parents=True)
    with (folder / "ram").open("wb") as file:
        file.seek(5 * BLOCK + 100)
        file.write(os.urandom(BLOCK))
        file.truncate(64 * BLOCK)
    (folder / "root").write_bytes(os.urandom(3 * BLOCK))
    (folder / "state").write_bytes(os.urandom(1000))
    seal.seal(folder, FACTS)
    return Snapshot(folder)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        [was] = file.read(1)
        file.seek(at)
        file.write(bytes([was ^ 1]))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


SEEN_AT_ONCE: dict[str, Callable[[Path], object]] = {
    "empty manifest": lambda folder: empty(folder / seal.MANIFEST),
    "manifest {}": lambda folder: (folder / seal.MANIFEST).write_text("{}"),
    "manifest of random bytes": lambda folder: noise(folder / seal.MANIFEST),
    "a digit of the manifest": lambda folder: (
        (folder / seal.MANIFEST).write_text(
            (folder / seal.MANIFEST).read_text().replace('"cpus": 1', '"cpus": 2')
        )
        and None
    ),
    "ram cut off": lambda folder: cut(folder / "ram"),
    "ram gone": lambda folder: (folder / "ram").unlink(),
    "state cut off": lambda folder: cut(folder / "state"),
    "a bit of state": lambda folder: flip(folder / "state", 500),
}
SEEN_WHOLLY: dict[str, Callable[[Path], object]] = {
    "a bit of ram": lambda folder: flip(folder / "ram", 5 * BLOCK + 200),
    "a bit in a hole of ram": lambda folder: flip(folder / "ram", 40 * BLOCK),
    "a bit of root": lambda folder: flip(folder / "root", 3 * BLOCK - 1),
    "root of random bytes": lambda folder: noise(folder / "root"),
}


@pytest.mark.parametrize("what", SEEN_AT_ONCE)
def test_what_a_power_cut_leaves_is_seen_at_the_thaw(tmp_path: Path, what: str) -> None:
    made = sealed(tmp_path / "key")
    assert made.damage(contents=True) == ""
    SEEN_AT_ONCE[what](made.folder)
    assert Snapshot(made.folder).damage(contents=False)


@pytest.mark.parametrize("what", SEEN_WHOLLY)
def test_what_a_bad_disk_flips_is_seen_when_all_is_read(tmp_path: Path, what: str) -> None:
    made = sealed(tmp_path / "key")
    SEEN_WHOLLY[what](made.folder)
    assert made.damage(contents=False) == ""
    assert made.damage(contents=True)


def test_holes_do_not_change_a_digest(tmp_path: Path) -> None:
    made = sealed(tmp_path / "key")
    full = tmp_path / "full"
    full.write_bytes((made.folder / "ram").read_bytes())
    assert full.stat().st_blocks > (made.folder / "ram").stat().st_blocks
    assert seal.digest(full) == seal.digest(made.folder / "ram")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(NAMES),
                    inner,
                    max_size=6,
                )
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_manifest_of_any_content_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("snapshot")
    (folder / seal.MANIFEST).write_bytes(content)
    made = Snapshot(folder)
    assert isinstance(made.damage(contents=True), str)
    for ask in (lambda: made.machine, lambda: made.note, lambda: made.age_seconds):
        with contextlib.suppress(MicrovmError):
            ask()
    shutil.rmtree(folder)


def test_a_manifest_nested_without_end_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / seal.MANIFEST).write_bytes(b"[" * 100_000)
    assert "no readable manifest" in Snapshot(tmp_path).damage(contents=False)


@dataclass
class Freezer:
    """Freezes as ever, but for the guest: that is three files."""

    cache: Cache
    said: list[str] = field(default_factory=list)
    boots: int = 0

    def freeze(self) -> Snapshot:
        spec = FreezeSpec(GuestImage.__new__(GuestImage), ["true"], b"")
        return freeze(spec, self.cache, say=self.said.append)


@pytest.fixture
def freezer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Freezer:
    made = Freezer(Cache(tmp_path / "cache"))

    def boot(*arguments: object) -> None:
        made.boots += 1
        [draft] = [one for one in arguments if isinstance(one, Path) and one.parent.name[0] == "."]
        for name in ("ram", "root", "state"):
            (draft / name).write_bytes(name.encode() * 100_000)

    class FakeQemu:
        version = "10.0"

    monkeypatch.setattr(snapshot, "provide_qemu", lambda *_, **__: FakeQemu())
    monkeypatch.setattr(snapshot, "lockstep_for", lambda *_, **__: None)
    monkeypatch.setattr(snapshot, "source_digest", lambda: "0" * 64)
    monkeypatch.setattr(GuestImage, "provide", lambda *_: None)
    monkeypatch.setattr(GuestImage, "key", lambda *_: "image")
    monkeypatch.setattr(snapshot, "_boot", boot)
    return made


@pytest.mark.parametrize("what", SEEN_AT_ONCE)
def test_a_damaged_snapshot_is_set_aside_and_frozen_again(freezer: Freezer, what: str) -> None:
    first = freezer.freeze()
    assert freezer.freeze() == first
    assert freezer.boots == 1
    SEEN_AT_ONCE[what](first.folder)
    again = freezer.freeze()
    assert again.key == first.key
    assert again.damage(contents=True) == ""
    assert freezer.boots == 2
    [sentence] = [line for line in freezer.said if "damaged" in line]
    assert "set aside" in sentence
    [aside] = snapshot.set_aside(freezer.cache)
    assert snapshots(freezer.cache) == [again]
    snapshot.sweep(aside)
    assert snapshot.set_aside(freezer.cache) == []


def test_all_of_a_snapshot_is_read_once_a_week(freezer: Freezer) -> None:
    first = freezer.freeze()
    flip(first.folder / "ram", 17)
    assert freezer.freeze() == first, "it was read when it was frozen, just now"
    os.utime(first.folder / ".checked", (1, 1))
    freezer.freeze()
    assert freezer.boots == 2


def test_a_snapshot_that_kills_its_guests_is_read_at_once(freezer: Freezer) -> None:
    first = freezer.freeze()
    assert not set_aside_if_damaged(first)
    flip(first.folder / "ram", 17)
    assert set_aside_if_damaged(first)
    assert set_aside_if_damaged(first), "gone counts, too"
    freezer.freeze()
    assert freezer.boots == 2


def test_nothing_bears_a_name_before_it_is_on_the_disk(
    freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def synced(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        order.append("manifest's draft" if is_draft(name) else name)
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        order.append(f"rename {path.name}")
        return rename(path, target)

    def replaced(path: Path, target: Path) -> Path:
        order.append(f"name {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(Path, "replace", replaced)
    key = freezer.freeze().key
    assert order == [
        *("ram", "root", "state", "manifest's draft", "name manifest.json", key),
        *(f"rename {key}", "snapshot"),
    ]


def test_clean_finds_half_frozen_and_damaged_ones(
    freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = freezer.freeze()
    half = made.folder.with_name(f".{'a' * 24}.freezing-x1")
    (half / "key").mkdir(parents=True)
    flip(made.folder / "root", 3)
    monkeypatch.setattr("harness.cli.clean.os.geteuid", lambda: 1000)
    monkeypatch.setattr("harness.cli.clean.of_temporary_files", list)
    monkeypatch.setattr("harness.cli.clean.abandoned", lambda _: [])
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(freezer.cache.root))
    with FileLock(half.with_name(f".{'a' * 24}.lock")):
        assert "nothing to clean up" in CliRunner().invoke(clean).stdout
    assert f"removed half-frozen snapshot {half}" in CliRunner().invoke(clean).stdout
    assert made.exists
    assert (
        f"removed damaged snapshot {made.folder}" in CliRunner().invoke(clean, ["--cache"]).stdout
    )
    assert not made.folder.exists()


def test_damaged_ones_are_listed_as_such_with_the_others(
    freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(freezer.cache.root))
    made = freezer.freeze()
    sealed(made.folder.with_name("b" * 24))
    empty(made.folder / seal.MANIFEST)
    rows = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert {row["key"]: bool(row["damage"]) for row in rows} == {made.key: True, "b" * 24: False}
    assert "damaged" in CliRunner().invoke(command).stdout
