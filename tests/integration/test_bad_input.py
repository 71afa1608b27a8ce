"""What people get wrong, through the real command: a sentence, an exit code, nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine import Engine

pytestmark = pytest.mark.integration

SCENARIO = """
import pytest

from harness.trial import Expectation

MEMBERS = Expectation("members", unit="1", exactly=1, no_control="a sound scenario")

@pytest.mark.swarm(managers=1)
def test_calm(swarm, measure):
    measure(MEMBERS, len(swarm.members()))
"""


@pytest.fixture
def run(tmp_path: Path, as_root: None) -> Callable[..., Any]:
    """Runs `swarm-chaos run` on one small scenario, behind words of a shell if need be."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.pytest_plugin"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:locust -p no:testinfra\n")
    (tmp_path / "test_calm.py").write_text(SCENARIO)

    def run(*args: str, before: tuple[str, ...] = (), **environment: Any) -> Any:
        done = subprocess.run(
            [
                *before,
                *(sys.executable, "-m", "harness.cli.main", "run", "--lab=namespaces"),
                *("test_calm.py", *args),
            ],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert "INTERNALERROR" not in said
        return done.returncode, said

    return run


def small_disk(size: str) -> tuple[str, str, str, str, str, str, str, str]:
    """The beginning of a command line for which /mnt is a disk of ``size``."""
    script = f'mount -t tmpfs -o size={size} none /mnt && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")


def test_the_sound_scenario_passes(run: Callable[..., Any], stable: Engine) -> None:
    code, said = run()
    assert code == 0, said


def test_an_unknown_engine(run: Callable[..., Any], tmp_path: Path) -> None:
    code, said = run("--engine=eldest")
    assert code == 64
    assert "unknown engine 'eldest'" in said
    assert "did you mean oldest" in said
    assert not (tmp_path / "reports").exists()


def test_a_release_that_cannot_be_fetched(run: Callable[..., Any], tmp_path: Path) -> None:
    code, said = run("--engine=29.0.0", SWARM_CHAOS_ARCHIVES=str(tmp_path))
    assert code == 2
    assert f"there is no archive of Docker 29.0.0: tried {tmp_path}/docker-29.0.0.tgz" in said
    assert "swarm-chaos engines --remote" in said


def test_a_folder_without_an_engine(run: Callable[..., Any], tmp_path: Path) -> None:
    code, said = run(f"--engine=dir:{tmp_path}")
    assert code == 2
    assert f"engine folder {tmp_path} has no dockerd" in said


def test_no_root(run: Callable[..., Any], tmp_path: Path) -> None:
    code, said = run(before=("unshare", "--user"))
    assert code == 2
    assert "the namespaces lab needs root" in said
    assert not (tmp_path / "reports").exists()


def test_a_topology_without_managers(run: Callable[..., Any]) -> None:
    code, said = run("--topology=2w")
    assert code == 64
    assert "'2w' is not a valid topology" in said


def test_a_full_disk_below_the_labs(run: Callable[..., Any], stable: Engine) -> None:
    code, said = run(before=small_disk("64k"), SWARM_CHAOS_LABS="/mnt/labs")
    assert code == 2
    assert "no space left on device" in said.lower()
    assert "UNKNOWN" in said


def test_a_full_disk_below_the_cache(run: Callable[..., Any]) -> None:
    code, said = run(before=small_disk("8m"), SWARM_CHAOS_CACHE="/mnt/cache")
    assert code == 2
    assert "MiB below /mnt/cache" in said
    assert "set SWARM_CHAOS_CACHE to a folder on a larger disk" in said


def test_a_labs_folder_that_cannot_be(
    run: Callable[..., Any], tmp_path: Path, stable: Engine
) -> None:
    code, said = run(SWARM_CHAOS_LABS="/dev/null/labs")
    assert code == 2
    assert "set SWARM_CHAOS_LABS to a folder that you own" in said
    deep = tmp_path / ("x" * 90)
    code, said = run(SWARM_CHAOS_LABS=str(deep))
    assert code == 2
    assert "too long for unix sockets" in said
    assert not deep.exists()
