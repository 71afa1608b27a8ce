"""The code that goes into guests: the same files give the same bytes, and what keys a freeze."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from optionals import not_none

import harness
from harness.snapshots import source_bundle
from harness.snapshots.source_bundle import freezing_sources, trial_sources
from harness.snapshots.swarm_snapshot import guest_requirements


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the harness that the tests may write to, taken for the harness itself."""
    copy = tmp_path / "elsewhere" / "harness"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(harness.__file__).parent, copy, ignore=without)
    monkeypatch.setattr(source_bundle, "_HOME", copy)
    return copy


def contents(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {member.name: not_none(opened.extractfile(member)).read() for member in opened}


def project(folder: Path) -> Path:
    """A project with two folders of scenarios."""
    for name in ("pyproject.toml", "conftest.py", "scenarios/test_a.py", "other/test_b.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    return folder


def test_the_same_sources_give_the_same_bytes_wherever_and_whenever(home: Path) -> None:
    here = freezing_sources()
    for path in home.rglob("*.py"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert freezing_sources() == here
    assert "elsewhere" not in str(sorted(contents(here)))


def test_a_trials_payload_is_the_same_bytes_too(home: Path, tmp_path: Path) -> None:
    one = trial_sources(project(tmp_path / "one"), ["scenarios"])
    for path in (tmp_path / "one").rglob("*.py"):
        os.utime(path, (1, 1))
    assert trial_sources(tmp_path / "one", ["scenarios"]) == one
    assert trial_sources(project(tmp_path / "two"), ["scenarios"]) == one


def test_a_payload_holds_what_the_python_path_lets_be_imported(home: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "root")
    for name in ("lib/one.py", "lib/two/__init__.py", "lib/two/deep/a.py", "lib/data/b.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    for name in ("lib/conftest.py", "lib/test_c.py"):
        (root / name).write_text("")
    alone = trial_sources(root, ["scenarios"])
    more = trial_sources(root, ["scenarios"], [root / "lib", tmp_path / "elsewhere"])
    assert more.keys() - alone.keys() == {"lib/one.py", "lib/two/__init__.py", "lib/two/deep/a.py"}


#: As many files may key a snapshot: a change in one of them freezes every swarm anew.
MOST_FROZEN_FILES = 75

HOSTS_ROOMS = ("bench", "cli", "docgen", "doctor", "manual", "report", "results", "snapshots")
TRIALS_ROOMS = ("faults", "load", "probes", "pytest_plugin", "services")


def frozen_modules() -> set[str]:
    return {name.removeprefix("harness/") for name in contents(freezing_sources())}


def test_few_files_key_a_snapshot_and_none_that_only_the_host_runs() -> None:
    frozen = frozen_modules()
    assert len(frozen) <= MOST_FROZEN_FILES, sorted(frozen)
    assert not {name.partition("/")[0] for name in frozen} & {*HOSTS_ROOMS, *TRIALS_ROOMS}
    assert {name for name in frozen if name.startswith("vm/")} == {
        *("vm/__init__.py", "vm/contract.py", "vm/guest_init.py", "vm/mailbox.py")
    }
    assert {name for name in frozen if name.startswith("guest/")} == {
        *("guest/__init__.py", "guest/agent.py", "guest/contract.py")
    }


OUTSIDE = [
    ("cli/compare.py", False),
    ("cli/inject.py", True),
    ("faults/__init__.py", True),
    ("guest/commands.py", True),
    ("load/locustfile.py", True),
    ("pytest_plugin/__init__.py", True),
    ("pytest_plugin/fixtures.py", True),
    ("pytest_plugin/guest_runner.py", False),
    ("pytest_plugin/host_protocol.py", False),
    ("report/site.py", False),
    ("services/servers/gelf_sink.py", True),
    ("snapshots/__init__.py", False),
    ("snapshots/replay.py", False),
    ("snapshots/swarm_snapshot.py", False),
    ("vm/qemu_process.py", False),
    ("vm/thaw.py", False),
]


@pytest.mark.parametrize(("name", "brought"), OUTSIDE)
def test_the_hosts_code_and_the_trials_do_not_age_a_snapshot(
    home: Path, name: str, brought: bool
) -> None:
    before = freezing_sources()
    with (home / name).open("a") as file:
        file.write("\n# changed\n")
    assert freezing_sources() == before
    assert (f"harness/{name}" in trial_sources(home.parent, [])) == brought


@pytest.mark.parametrize(
    "name", ["guest/agent.py", "guest/contract.py", "vm/mailbox.py", "wait.py", "lab/janitor.py"]
)
def test_what_a_freeze_runs_makes_a_new_snapshot(home: Path, name: str) -> None:
    before = freezing_sources()
    with (home / name).open("a") as file:
        file.write("\n# changed\n")
    assert freezing_sources() != before


def test_the_scripts_of_the_lab_count_and_byte_code_does_not(home: Path) -> None:
    before = freezing_sources()
    (home / "lab" / "__pycache__").mkdir()
    (home / "lab" / "__pycache__" / "node.cpython-311.pyc").write_bytes(b"x")
    (home / "lab" / "scripts" / "left.pyc").write_bytes(b"x")
    (home / "lab" / "unused.py").write_text("")
    assert freezing_sources() == before
    (home / "lab" / "scripts" / "new.sh").write_text("")
    assert freezing_sources() != before


def test_a_trial_brings_what_its_scenarios_import(home: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "root")
    assert "harness/probes/shared_file.py" not in trial_sources(root, ["scenarios"])
    (root / "scenarios" / "test_a.py").write_text("from harness.probes import shared_file\n")
    assert "harness/probes/shared_file.py" in trial_sources(root, ["scenarios"])


def test_a_scenario_that_is_no_python_is_brought_for_pytest_to_say_so(
    home: Path, tmp_path: Path
) -> None:
    root = project(tmp_path / "root")
    (root / "scenarios" / "test_a.py").write_text("def (\n")
    assert trial_sources(root, ["scenarios"])["scenarios/test_a.py"] == b"def (\n"


def test_a_payload_has_the_set_up_and_the_folders_asked_for(home: Path, tmp_path: Path) -> None:
    packed = trial_sources(project(tmp_path / "p"), ["scenarios"])
    assert packed["scenarios/test_a.py"] == b"# scenarios/test_a.py\n"
    assert {"pyproject.toml", "conftest.py", "harness/pytest_plugin/__init__.py"} <= set(packed)
    assert "other/test_b.py" not in packed
    assert not any(name.endswith(".pyc") for name in packed)


def test_a_project_without_a_conftest_is_packed_all_the_same(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bare" / "scenarios").mkdir(parents=True)
    (tmp_path / "bare" / "scenarios" / "test_c.py").write_text("")
    packed = trial_sources(tmp_path / "bare", ["scenarios"])
    assert "conftest.py" not in packed
    assert "scenarios/test_c.py" in packed


def test_a_guest_gets_no_packages_that_only_the_host_needs() -> None:
    names = {
        line.split(">")[0].split("<")[0].split("=")[0].lower() for line in guest_requirements()
    }
    assert {"pytest", "docker", "msgspec"} <= names
    assert not names & {"pytest-xdist", "plotly", "jinja2", "mypy", "ruff", "hypothesis"}
