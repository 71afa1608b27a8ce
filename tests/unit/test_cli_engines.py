"""``swarm-chaos engines`` over a cache with engines made up for it."""

from __future__ import annotations

import json
from pathlib import Path

import click.testing
import pytest
from click.testing import CliRunner
from optionals import not_none

from harness.cli.engines import engines
from harness.engine import EngineFacts, resolve, roots
from harness.engine.roots import TAR_KIND, TREE_KIND
from harness.errors import ImageError, UsageError
from harness.images import Cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path))
    return Cache()


@pytest.fixture
def trixie(cache: Cache) -> Path:
    facts = EngineFacts(
        name="stable",
        version="26.1.9",
        source="debian:trixie docker.io 26.1.9",
        digest="d" * 64,
        dockerd="/usr/sbin/dockerd",
        path="/usr/bin",
        cgroups="v2",
        containerd="1.7.24",
        cli="26.1.9",
    )

    def recipe(work: Path) -> None:
        (work / "rootfs").mkdir()
        (work / "rootfs" / "file").write_text("x" * 3_000_000)

    return cache.build(TREE_KIND, roots._key(resolve("stable"), None), recipe, {"engine": facts})


def run(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(engines, arguments)


def rows() -> dict[str, dict[str, str | list[str | dict[str, str | int]] | None]]:
    return {row["name"]: row for row in json.loads(run("--json").stdout)}


def test_an_empty_cache_lists_what_is_known(cache: Cache) -> None:
    found = rows()
    assert set(found) == {"20.10.5", "20.10.24", "26.1.5", "28.5.2"}
    assert all(row["cached"] == [] and row["version"] is None for row in found.values())
    assert found["26.1.5"]["aliases"] == ["stable"]


def test_what_is_cached_is_told_with_the_version_read_back(trixie: Path) -> None:
    row = rows()["26.1.5"]
    assert row["version"] == "26.1.9"
    assert (not_none(row["cached"])[0]["form"], not_none(row["cached"])[0]["bytes"]) == (  # type: ignore[index]
        "tree",
        3_000_000,
    )
    line = next(line for line in run().stdout.splitlines() if line.startswith("26.1.5"))
    assert line.split()[:6] == ["26.1.5", "stable", "26.1.9", "namespaces", "2.9", "MiB"]


def test_an_engine_that_only_the_other_lab_has_is_not_called_cached(cache: Cache) -> None:
    def recipe(work: Path) -> None:
        (work / "rootfs.tar").write_text("x")

    cache.build(TAR_KIND, roots._key(resolve("stable"), None), recipe, {})
    line = next(line for line in run().stdout.splitlines() if line.startswith("26.1.5"))
    assert line.split()[:4] == ["26.1.5", "stable", "-", "microvm"]


def test_verify_reads_every_byte_and_ends_in_an_error_on_damage(trixie: Path) -> None:
    assert run("--verify").exit_code == 0
    (trixie / "rootfs" / "file").write_text("y" * 3_000_000)
    assert run().exit_code == 0
    answer = run("--verify")
    assert isinstance(answer.exception, ImageError)
    assert "(damaged)" in answer.stdout
    assert "clean --cache" in str(answer.exception)


def test_an_unknown_engine_is_a_usage_error(cache: Cache) -> None:
    answer = run("--fetch", "stabel")
    assert isinstance(answer.exception, UsageError)
