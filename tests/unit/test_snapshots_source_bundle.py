"""The code that goes into guests: the same files give the same bytes, and what keys a freeze."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

import harness
from harness.guest.agent import FREEZING
from harness.snapshots import source_bundle
from harness.snapshots.source_bundle import (
    GUEST_PART,
    HOST_ONLY,
    freezing_sources,
    trial_sources,
)
from harness.snapshots.swarm_snapshot import guest_requirements

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A copy of the harness that the tests may write to, taken for the harness itself."""
    copy = tmp_path / "elsewhere" / "harness"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(harness.__file__).parent, copy, ignore=without)
    monkeypatch.setattr(source_bundle, "_HOME", copy)
    return copy


def contents(tar):
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}


def project(folder):
    """A project with two folders of scenarios."""
    for name in ("pyproject.toml", "conftest.py", "scenarios/test_a.py", "other/test_b.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    return folder


def test_the_same_sources_give_the_same_bytes_wherever_and_whenever(home):
    here = freezing_sources()
    for path in home.rglob("*.py"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert freezing_sources() == here
    assert "elsewhere" not in str(sorted(contents(here)))


def test_a_trials_payload_is_the_same_bytes_too(home, tmp_path):
    one = trial_sources(project(tmp_path / "one"), ["scenarios"])
    for path in (tmp_path / "one").rglob("*.py"):
        os.utime(path, (1, 1))
    assert trial_sources(tmp_path / "one", ["scenarios"]) == one
    assert trial_sources(project(tmp_path / "two"), ["scenarios"]) == one


def test_a_payload_holds_what_the_python_path_lets_be_imported(home, tmp_path):
    root = project(tmp_path / "root")
    for name in ("lib/one.py", "lib/two/__init__.py", "lib/two/deep/a.py", "lib/data/b.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    for name in ("lib/conftest.py", "lib/test_c.py"):
        (root / name).write_text("")
    alone = trial_sources(root, ["scenarios"])
    more = trial_sources(root, ["scenarios"], [root / "lib", tmp_path / "elsewhere"])
    assert more.keys() - alone.keys() == {"lib/one.py", "lib/two/__init__.py", "lib/two/deep/a.py"}


OUTSIDE = [
    "cli/main.py",
    "pytest_plugin/__init__.py",
    "pytest_plugin/fixtures.py",
    "pytest_plugin/guest_runner.py",
    "snapshots/replay.py",
    "report/page.py",
    "faults/__init__.py",
    "load/locustfile.py",
    "guest/commands.py",
    "snapshots/swarm_snapshot.py",
    "snapshots/__init__.py",
    "vm/__init__.py",
    "vm/qemu_process.py",
    "vm/thaw.py",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_hosts_code_and_the_trials_do_not_age_a_snapshot(home, name):
    before = freezing_sources()
    with (home / name).open("a") as file:
        file.write("\n# changed\n")
    assert freezing_sources() == before
    brought = f"harness/{name}" in trial_sources(home.parent, [])
    assert brought == (Path(name).parts[0] not in HOST_ONLY)


def file_of(name):
    """``lab`` -> ``lab/__init__.py``, ``wait`` -> ``wait.py``."""
    module = REPOSITORY / "harness" / f"{name}.py"
    return module.name if module.exists() else f"{name}/__init__.py"


FROZEN = [*GUEST_PART, *(file_of(name) for name in FREEZING)]


@pytest.mark.parametrize("name", FROZEN)
def test_what_a_freeze_runs_makes_a_new_snapshot(home, name):
    before = freezing_sources()
    with (home / name).open("a") as file:
        file.write("\n# changed\n")
    assert freezing_sources() != before


def test_a_new_file_in_a_freezing_room_counts_and_byte_code_does_not(home):
    before = freezing_sources()
    (home / "lab" / "__pycache__").mkdir()
    (home / "lab" / "__pycache__" / "node.cpython-311.pyc").write_bytes(b"x")
    (home / "lab" / "left.pyc").write_bytes(b"x")
    assert freezing_sources() == before
    (home / "lab" / "new.py").write_text("")
    assert freezing_sources() != before


def test_a_guest_is_frozen_without_the_hosts_part_of_a_shared_room():
    frozen = contents(freezing_sources())
    assert frozen["harness/vm/__init__.py"] == b""
    assert not {name for name in frozen if name.startswith("harness/snapshots/")}


def test_a_payload_is_the_whole_harness_the_set_up_and_the_folders_asked_for(home, tmp_path):
    packed = trial_sources(project(tmp_path / "p"), ["scenarios"])
    assert packed["scenarios/test_a.py"] == b"# scenarios/test_a.py\n"
    assert {"pyproject.toml", "conftest.py", "harness/pytest_plugin/__init__.py"} <= set(packed)
    assert "other/test_b.py" not in packed
    assert not any(name.endswith(".pyc") for name in packed)


def test_a_project_without_a_conftest_is_packed_all_the_same(home, tmp_path):
    (tmp_path / "bare" / "scenarios").mkdir(parents=True)
    (tmp_path / "bare" / "scenarios" / "test_c.py").write_text("")
    packed = trial_sources(tmp_path / "bare", ["scenarios"])
    assert "conftest.py" not in packed
    assert "scenarios/test_c.py" in packed


def test_a_guest_gets_no_packages_that_only_the_host_needs():
    names = {
        line.split(">")[0].split("<")[0].split("=")[0].lower() for line in guest_requirements()
    }
    assert {"pytest", "docker", "msgspec"} <= names
    assert not names & {"pytest-xdist", "plotly", "jinja2", "mypy", "ruff", "hypothesis"}
