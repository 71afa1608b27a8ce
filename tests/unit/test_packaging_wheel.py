"""What `pip install` of the wheel gives in an empty environment: command, plugin, scenarios, data.

The libraries that it needs are this environment's, as a folder of links, so nothing is fetched. The
harness itself, and whatever makes it importable here, is not among them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import __version__

REPOSITORY = Path(__file__).parents[2]
OWN_SCENARIO = """
import pytest
from harness.swarm import balanced_web
from harness.trial import Observation

SERVED = Observation("share of requests served", unit="1", better="higher")


@pytest.mark.swarm(managers=1)
def test_leader_killed(swarm, load, faults, measure):
    with load.http(swarm.deploy(balanced_web())) as sent, faults.kill_dockerd(swarm.leader) as kill:
        kill.hold(5)
    measure(SERVED, sent.share("ok"))
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the wheel is built with it: `make setup` installs it")
    out = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment with the wheel, and this one's libraries."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root / "venv", symlinks=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", root / "venv")
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    libraries = root / "libraries"
    libraries.mkdir()
    for entry in Path(pytest.__file__).parents[1].iterdir():
        if "swarm_chaos" not in entry.name and entry.suffix != ".pth":
            (libraries / entry.name).symlink_to(entry)
    [site] = (root / "venv" / "lib").glob("python3*/site-packages")
    (site / "libraries.pth").write_text(f"{libraries}\n")
    return root / "venv"


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """A function that runs a program of the environment in an empty folder."""

    def run(program: str, *args: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [environment / "bin" / "python", "-m", program, *args],
            cwd=tmp_path, env={**kept, "PYTHONSAFEPATH": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "harness", "scenarios"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    there = [name for name in listed.stdout.splitlines() if (REPOSITORY / name).exists()]
    assert "harness/vm/lockstep.c" in there
    assert {name for name in there if name.startswith("harness/")} - packed == set()
    scenarios = {f"harness/packaged/{name}" for name in there if name.startswith("scenarios/")}
    assert scenarios
    assert scenarios - packed == set()
    assert not {name for name in packed if name.startswith("tests/")}


def test_the_command_comes_with_it(environment: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [environment / "bin" / "swarm-chaos", "--version"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout == f"swarm-chaos, version {__version__}\n", ran.stderr


def test_the_packaged_scenarios_are_listed_without_a_checkout(run: Run, tmp_path: Path) -> None:
    ran = run("harness.cli", "run", "--co", "-q", "-k", "slash_30", "--lab=microvm")
    assert "scenarios/test_subnet_exhausted.py::test_slash_30" in ran.stdout, ran.stderr
    assert ran.returncode == 0
    listed = run("harness.cli", "scenarios", "slash_30", "--json")
    assert {scenario["name"] for scenario in json.loads(listed.stdout)} >= {"test_slash_30"}
    assert {path.name for path in tmp_path.iterdir()} <= {".pytest_cache"}


@pytest.mark.parametrize("program", [("harness.cli", "run"), ("pytest", "-p", "no:locust")])
def test_pytest_finds_the_plugin_for_scenarios_of_ones_own(
    run: Run, tmp_path: Path, program: tuple[str, ...]
) -> None:
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "test_mine.py").write_text(OWN_SCENARIO)
    ran = run(*program, "chaos", "--collect-only", "-q", "--lab=microvm", "--trials=2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "chaos/test_mine.py::test_leader_killed[stable-s2]" in ran.stdout
    fixtures = run(*program, "chaos", "--fixtures-per-test", "-q", "--lab=microvm")
    assert "swarm -- " in fixtures.stdout
