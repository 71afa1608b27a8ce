"""What a trial does not bring along is nothing that it needs, and nothing of the host's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.snapshots.import_graph import ImportGraph
from harness.snapshots.source_bundle import TRIAL_ENTRIES, trial_sources

ROOT = Path(harness.__file__).parent.parent

#: Rooms that are the host's alone.
HOSTS_ROOMS = ("bench", "docgen", "doctor", "report", "results", "snapshots")


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A folder with what a trial brings, as files."""
    for name, content in trial_sources(ROOT, ["scenarios"]).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def run(payload: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=payload, capture_output=True, text=True, check=False
    )


def test_a_trial_brings_nothing_of_the_hosts(payload: Path) -> None:
    assert (payload / "harness" / "pytest_plugin").is_dir()
    assert not [room for room in HOSTS_ROOMS if (payload / "harness" / room).exists()]
    assert not (payload / "harness" / "vm" / "thaw.py").exists()


def test_all_that_a_trial_brings_can_be_imported(payload: Path) -> None:
    names = ImportGraph(payload / "harness").closure(TRIAL_ENTRIES)
    code = "import importlib, sys\nfor n in sys.argv[1:]: importlib.import_module(n)"
    done = run(payload, "-c", code, *(name for name in names if "locustfile" not in name))
    assert done.returncode == 0, done.stderr


def test_scenarios_are_collected_without_the_rest(payload: Path) -> None:
    collected = run(
        payload,
        *("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"),
        *("--lab=namespaces", f"--trial-into={payload / 'out'}", "scenarios"),
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert "test_leader_killed" in collected.stdout


@pytest.mark.parametrize("command", ["inject", "heal", "status", "schedule"])
def test_a_person_in_a_guest_has_the_commands_for_faults_by_hand(
    payload: Path, command: str
) -> None:
    done = run(payload, "-m", "harness.cli.main", command, "--help")
    assert done.returncode == 0, done.stderr
