"""A night's steps as a CI calls them: the canary, a shard, two nights with a regression planted.

`swarm-chaos run` is a stand-in that brings a synthetic run; all else is the true command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import plain_yaml
import pytest
from stored_runs import store_run

from harness.results.archive import export_run

REPOSITORY = Path(__file__).parents[2]
NIGHT = REPOSITORY / "examples" / "nightly" / "night.sh"
STAND_IN = """#!/bin/sh
if [ "$1" != run ]; then exec {python} -m harness.cli "$@"; fi
echo "$@" >> called
while [ $# -gt 0 ]; do [ "$1" = --reports ] && reports=$2; shift; done
if [ -d brought ]; then mkdir -p "$reports"; cp -r brought/. "$reports"; fi
exit $(cat code)
"""

Step = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def step(tmp_path: Path) -> Step:
    """A function that runs a step in an empty folder; runs of scenarios end with ``code``."""
    program = tmp_path / "bin" / "swarm-chaos"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    paths = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}

    def run(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        (tmp_path / "code").write_text(str(code))
        return subprocess.run(
            [NIGHT, *args],
            cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(("canary", "night"), [(1, 0), (0, 1), (2, 1), (64, 1)])
def test_a_night_is_red_unless_its_canary_fails(step: Step, canary: int, night: int) -> None:
    done = step("canary", "--engine", "stable", code=canary)
    assert done.returncode == night
    assert ("as it must" in done.stdout) == (night == 0)


@pytest.mark.parametrize(("code", "ends_with"), [(0, 0), (1, 0), (2, 2), (64, 64)])
def test_a_shard_is_kept_and_failures_are_left_to_the_morning(
    step: Step, tmp_path: Path, code: int, ends_with: int
) -> None:
    store_run(tmp_path / "brought", [10.0])
    assert step("shard", "28.5.2", "--engine", "28.5.2", code=code).returncode == ends_with
    assert (tmp_path / "shards" / "28.5.2.tar.gz").is_file()
    assert "--packaged --controls --reports reports-28.5.2 --engine 28.5.2" in (
        (tmp_path / "called").read_text()
    )


@pytest.mark.parametrize(("slower_by", "code"), [(0.0, 0), (10.0, 1)])
def test_a_planted_regression_makes_the_night_red(
    step: Step, tmp_path: Path, slower_by: float, code: int
) -> None:
    usual = [10.0 + 0.3 * number for number in range(16)]
    before = store_run(tmp_path / "runs", usual, day=1, limit=99).folder
    after = store_run(tmp_path / "runs", [v + slower_by for v in usual], day=2, limit=99).folder
    for folder in ("shards", "good"):
        (tmp_path / folder).mkdir()
    before.rename(before.with_name("night"))
    export_run(before.with_name("night"), tmp_path / "good" / "night.tar.gz")
    export_run(after, tmp_path / "shards" / "28.5.2.tar.gz")
    done = step("compare")
    assert done.returncode == code, done.stdout + done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
    assert (tmp_path / "night.tar.gz").is_file()
    assert ("regressed" in (tmp_path / "comparison.md").read_text()) == (code == 1)


def test_the_first_night_has_nothing_to_be_compared_with(step: Step, tmp_path: Path) -> None:
    only = store_run(tmp_path / "runs", [10.0], limit=99)
    (tmp_path / "shards").mkdir()
    export_run(only.folder, tmp_path / "shards" / "28.5.2.tar.gz")
    assert step("compare").returncode == 0


def test_a_failure_is_new_then_known_and_green_once_acknowledged(
    step: Step, tmp_path: Path
) -> None:
    (tmp_path / "shards").mkdir()
    file = tmp_path / "acknowledged.toml"
    file.write_text("")
    for day, (state, code) in enumerate((("new", 1), ("known", 1), ("acknowledged", 0)), start=1):
        failed = store_run(tmp_path / "runs", [30.0], day=day, limit=20.0)
        export_run(failed.folder, tmp_path / "shards" / "28.5.2.tar.gz")
        done = step("compare", "--acknowledged", str(file))
        (tmp_path / "shards" / "28.5.2.tar.gz").unlink()
        (tmp_path / "night.tar.gz").unlink()
        assert done.returncode == code, done.stdout + done.stderr
        [line] = [line for line in done.stdout.splitlines() if f" {state}: " in line]
        name = line.partition(": ")[2].partition(" on ")[0]
        if state == "known":
            file.write_text(f'[[acknowledged]]\nfailure = "{name}"\nnote = "moby#1"\n')
    assert "seen in 3 of 3 nights, night of 2026-11-01 to night of 2026-11-03" in done.stdout


def test_a_wrong_step_ends_with_its_usage(step: Step) -> None:
    done = step("morning")
    assert done.returncode == 64
    assert "night.sh compare" in done.stderr


def test_the_canary_is_a_scenario(tmp_path: Path) -> None:
    canary = NIGHT.parent / "canary"
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", canary, "--co", "-q"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "test_canary.py::test_canary[stable-s1]" in ran.stdout, ran.stdout + ran.stderr


def test_both_workflows_call_every_step() -> None:
    github = plain_yaml.load((REPOSITORY / ".github" / "workflows" / "night.yml").read_text())
    steps = [step.get("run", "") for job in github["jobs"].values() for step in job["steps"]]
    gitlab = (NIGHT.parent / "gitlab-ci.yml").read_text()
    for name in ("canary", "shard", "compare"):
        assert any(run.startswith(f"$NIGHT {name}") for run in steps)
        assert f"night.sh {name}" in gitlab
