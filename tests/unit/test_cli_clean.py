"""`swarm-chaos clean`: what it takes for abandoned, and what it leaves alone."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock

from harness.cli.clean import _remove, clean
from harness.images import Cache
from harness.lab import leftovers
from harness.lab.leftovers import Leftover
from harness.vm import scratch


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cache:
    """An ordinary user with a cache and a folder for temporary files of its own."""
    monkeypatch.setattr("harness.cli.clean.os.geteuid", lambda: 1000)
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.cli.clean.of_temporary_files", list)
    monkeypatch.setattr("harness.cli.clean.abandoned", lambda _: [])
    return Cache()


def half_built(cache: Cache, kind: str = "kind", key: str = "key.1") -> Path:
    folder = cache.root / kind / f".{key}.building-x1y2"
    (folder / "rootfs").mkdir(parents=True)
    return folder


def test_what_a_killed_build_left_is_removed_and_said(as_user: Cache) -> None:
    folder = half_built(as_user)
    done = CliRunner().invoke(clean)
    assert not folder.exists()
    assert f"removed half-built cache entry {as_user.root}/kind/key.1" in done.stdout
    assert "needs root" in done.stderr


def test_a_dry_run_only_lists(as_user: Cache) -> None:
    folder = half_built(as_user)
    done = CliRunner().invoke(clean, ["--dry-run"])
    assert folder.exists()
    assert f"would remove half-built cache entry {as_user.root}/kind/key.1" in done.stdout


def test_a_build_that_goes_on_is_left_alone(as_user: Cache) -> None:
    folder = half_built(as_user)
    with FileLock(folder.parent / ".key.1.lock"):
        done = CliRunner().invoke(clean)
    assert folder.exists()
    assert "nothing to clean up" in done.stdout


def test_only_damaged_entries_go_and_only_when_asked(as_user: Cache) -> None:
    def build(work: Path) -> None:
        (work / "file").write_text("content")

    for key in ("sound", "broken"):
        as_user.build("kind", key, build, {})
    (as_user.root / "kind/broken/file").write_text("tnetnoc")  # as long as it was
    CliRunner().invoke(clean)
    assert as_user.find("kind", "broken")
    done = CliRunner().invoke(clean, ["--cache"])
    assert as_user.find("kind", "broken") is None
    assert as_user.find("kind", "sound")
    assert "kind/broken" in done.stdout
    assert "kind/sound" not in done.stdout


def test_what_cannot_be_removed_is_said_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = []

    def refuse() -> None:
        raise PermissionError(1, "not yours")

    found = [Leftover("lab", "/a", refuse), Leftover("lab", "/b", lambda: gone.append("/b"))]
    assert _remove(found, dry_run=False) == 1
    said = capsys.readouterr()
    assert "cannot remove lab /a" in said.err
    assert "not yours" in said.err
    assert "removed lab /b" in said.out
    assert gone == ["/b"]


@pytest.fixture
def tmp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return tmp_path


def old(folder: Path) -> Path:
    folder.mkdir()
    (folder / "ram").write_text("x")
    for path in (folder / "ram", folder):
        os.utime(path, (time.time() - 7200,) * 2)
    return folder


def found_in(tmp: Path) -> list[str]:
    return [one.where for one in leftovers.of_temporary_files() if one.where.startswith(str(tmp))]


def test_old_temporary_folders_are_found_and_nobody_elses(tmp: Path) -> None:
    mine = old(tmp / "swarm-chaos-guest-abc")
    old(tmp / "something-else-abc")
    assert found_in(tmp) == [str(mine)]


def test_a_folder_that_changed_lately_is_in_use(tmp: Path) -> None:
    (old(tmp / "swarm-chaos-guest-abc") / "ram").write_text("y")
    assert found_in(tmp) == []


def test_a_folder_that_a_process_names_is_in_use(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = old(tmp / "swarm-chaos-guest-abc")
    monkeypatch.setattr(leftovers, "_command_lines", lambda: [f"qemu\0file={mine}/ram\0"])
    assert found_in(tmp) == []


@pytest.mark.parametrize(
    ("line", "ids"),
    [
        ("python\0-I\0-S\0/any/harness/lab/janitor.py\0/labs/0a1b2c3d\x000a1b2c3d\0", {"0a1b2c3d"}),
        ("unshare\0--mount\0python\0/x/lab/janitor.py\0/l/1\x001\0", {"1"}),
        ("vi\0/x/lab/janitor.py\0", set()),
        ("\0", set()),
        ("", set()),
    ],
)
def test_a_lab_lives_while_its_janitor_runs(
    monkeypatch: pytest.MonkeyPatch, line: str, ids: set[str]
) -> None:
    monkeypatch.setattr(leftovers, "_command_lines", lambda: [line])
    assert leftovers.live_labs() == ids


def test_a_folder_that_its_owner_no_longer_locks_is_found_at_once(
    as_user: Cache, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cli.clean.scratch_root", lambda: None)
    monkeypatch.setattr(os, "geteuid", os.getuid)
    monkeypatch.setattr("harness.cli.clean.of_labs", lambda: nullcontext(()))
    monkeypatch.setattr("harness.cli.clean.abandoned", scratch.abandoned)
    kept, left = scratch.Scratch(None), tmp / "swarm-chaos-payload-killed"
    left.mkdir()
    for folder in (kept.path, left):
        os.utime(folder, (time.time() - 60,) * 2)
    done = CliRunner().invoke(clean)
    assert f"removed folder {left}" in done.stdout
    assert kept.path.exists()
    assert not left.exists()
