"""What a trial does not bring along is nothing that it needs."""

import subprocess
import sys
from pathlib import Path

import harness
from harness.snapshots.source_bundle import HOST_ONLY, trial_sources

ROOT = Path(harness.__file__).parent.parent


def test_a_trial_brings_none_of_it():
    brought = {Path(name).parts[1] for name in trial_sources(ROOT, []) if "/" in name}
    assert "pytest_plugin" in brought
    assert not brought & set(HOST_ONLY)


def test_every_room_named_is_there():
    assert all((ROOT / "harness" / room / "__init__.py").is_file() for room in HOST_ONLY)


def test_scenarios_are_collected_without_it(tmp_path):
    for name, content in trial_sources(ROOT, ["scenarios"]).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    collected = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"),
            *("--lab=namespaces", "scenarios"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert "test_leader_killed" in collected.stdout
