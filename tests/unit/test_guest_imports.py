"""What a trial does not bring along is nothing that it needs, and nothing of the host's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.guest.contract import ARCHIVE, FREEZE_VARIABLE, FROZEN_WITH
from harness.snapshots.import_graph import ImportGraph
from harness.snapshots.payload import archived
from harness.snapshots.source_bundle import (
    TRIAL_ENTRIES,
    digest,
    freezing_sources,
    trial_sources,
)
from harness.vm import mailbox

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


#: As a guest does it: the agent is imported from what was frozen, a trial runs with what it brings,
#: and starts a child as services and loads do.
_AGENT = """
import os, subprocess, sys
from pathlib import Path
from harness.guest import agent
code = agent.run(Path(sys.argv[1]), {"trial": "t", "args": sys.argv[3:]}, Path(sys.argv[2]))
import harness, harness.probes.shared_file, harness.lab.leftovers
above = str(Path(harness.__file__).parent.parent)
child = (
    "import harness.services.servers.gelf_sink as s, harness.load.plan;"
    "print('CHILD', s.__file__)"
)
env = {**os.environ, "PYTHONPATH": os.pathsep.join([above, os.environ["PYTHONPATH"]])}
sys.stdout.flush()
subprocess.run([sys.executable, "-P", "-c", child], env=env, check=True)
print("KEPT", sys.modules["harness.lab.node"].__file__)
sys.exit(code)
"""


def test_a_thawed_agent_runs_the_scenarios_with_what_is_brought(tmp_path: Path) -> None:
    frozen, payload, out = (tmp_path / name for name in ("frozen", "payload", "out"))
    sources = freezing_sources()
    mailbox.unpack(sources, frozen)
    files = archived(trial_sources(ROOT, ["scenarios"]))
    mailbox.unpack(mailbox.pack({**files, FROZEN_WITH: digest(sources).encode()}), payload)
    # In a guest no metadata names the plugin; here pytest finds the harness imported before it.
    quiet = ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    args = ("--lab=namespaces", "--collect-only", "-q", *quiet, "scenarios")
    plan = {FREEZE_VARIABLE: json.dumps({"sources": digest(sources)}), "PYTHONPATH": str(frozen)}
    done = subprocess.run(
        [sys.executable, "-c", _AGENT, str(payload), str(out), *args],
        cwd=frozen,
        env={**os.environ, **plan},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_leader_killed" in done.stdout
    assert f"CHILD {payload / ARCHIVE}/harness/services/servers/gelf_sink.py" in done.stdout
    assert f"KEPT {frozen}/harness/lab/node.py" in done.stdout
