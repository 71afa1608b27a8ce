"""``swarm-chaos snapshots``: what is listed, what is removed, what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.output import show
from harness.cli.snapshots import Row, snapshots, table
from harness.vm.machine import Machine

NOTE = {"engine": "stable", "version": "26.1.5", "topology": "3m2w", "kernel": "6.12"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with three snapshots, ``c`` used last; ``a`` is from before there were notes."""
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path))
    for number, key in enumerate("abc"):
        folder = tmp_path / "snapshot" / key
        folder.mkdir(parents=True)
        facts = {"machine": Machine().facts(), "qemu": "10.0"}
        manifest = {"facts": facts, "frozen_at": 1000.0, **({"note": NOTE} if key != "a" else {})}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        os.utime(folder / "manifest.json", (1000 + number, 1000 + number))
    return tmp_path


def keys(*args: str) -> list[str]:
    done = CliRunner().invoke(snapshots, ["--json", *args], catch_exceptions=False)
    assert done.exit_code == 0
    return [row["key"] for row in json.loads(done.stdout)]


def test_the_last_used_comes_first(cache: Path) -> None:
    assert keys() == ["c", "b", "a"]


def test_all_but_the_last_used_are_removed(cache: Path) -> None:
    assert keys("--prune", "--keep", "1") == ["c"]
    assert not (cache / "snapshot" / "a").exists()


def test_the_table_tells_what_is_in_them(cache: Path) -> None:
    done = CliRunner().invoke(snapshots, [], catch_exceptions=False)
    head, newest, _, oldest = done.stdout.splitlines()
    assert head.split()[:4] == ["snapshot", "engine", "topology", "kernel"]
    assert newest.split()[:6] == ["c", "26.1.5", "(stable)", "3m2w", "6.12", "virtual"]
    assert oldest.split()[:5] == ["a", "-", "-", "-", "virtual"]


def test_an_empty_cache_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path))
    assert "no snapshots" in CliRunner().invoke(snapshots, []).stdout


@pytest.mark.parametrize("args", [["--prune"], ["--keep", "2"]])
def test_nothing_is_removed_by_half_a_word(cache: Path, args: Sequence[str]) -> None:
    assert CliRunner().invoke(snapshots, args).exit_code != 0
    assert keys() == ["c", "b", "a"]


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    show(table([Row("k", "26.1.5", "26.1.5", "3m", "6.12", "virtual", 2, 5 << 20, 7200.0, 61.0)]))
    head, line = capsys.readouterr().out.splitlines()
    assert line.index("5.0 MiB") + len("5.0 MiB") == head.index("size") + len("size")
    assert line.rstrip().endswith("1 min ago")
