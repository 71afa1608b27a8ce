"""What a guest's pytest finds of a project: without entry points, the harness in an archive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.guest.contract import ARCHIVE, PYTEST_ENVIRONMENT
from harness.snapshots.payload import archived
from harness.snapshots.source_bundle import trial_sources

REPOSITORY = Path(__file__).parents[2]
WITHOUT_PYTHON = """\
title = "Nothing is broken"
watch = "1s"

[[expect]]
measure = "requests lost"
at_most = 0.1
source = "nobody breaks anything"
no_control = "a test of the harness"
"""
LIKE_A_GUEST = "import sys, harness.guest.commands, pytest; sys.exit(pytest.main(sys.argv[1:]))"


def collected(root: Path, folder: str, nodeid: str, at: Path) -> str:
    """What pytest lists when it is called as in a guest, with what a trial brings there."""
    for name, content in archived(trial_sources(root, [folder])).items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    libraries = Path(pytest.__file__).parents[1]
    ran = subprocess.run(
        [
            *(sys.executable, "-P", "-S", "-c", LIKE_A_GUEST, nodeid, "--co", "-q"),
            *("-p", "no:cacheprovider", "-p", "harness.pytest_plugin", "--lab=namespaces"),
            f"--trial-into={at / 'out'}",
        ],
        cwd=at,
        env={
            **os.environ,
            **PYTEST_ENVIRONMENT,
            "PYTHONPATH": f"{at / ARCHIVE}:{at}:{libraries}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_a_scenario_of_the_checkout_is_found(tmp_path: Path) -> None:
    nodeid = "scenarios/test_subnet_exhausted.py::test_slash_30[stable-s1]"
    assert nodeid in collected(REPOSITORY, "scenarios", nodeid, tmp_path)


def test_what_init_writes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.call(["init"]) == 0
    nodeid = "test_leader_killed.py::test_leader_killed[stable-s1]"
    assert nodeid in collected(tmp_path / "chaos", ".", nodeid, tmp_path / "guest")


def test_a_scenario_without_python_is_found(tmp_path: Path) -> None:
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "leader.chaos.toml").write_text(WITHOUT_PYTHON)
    nodeid = "chaos/leader.chaos.toml::test_leader[stable-s1]"
    assert nodeid in collected(tmp_path, "chaos", nodeid, tmp_path / "guest")
