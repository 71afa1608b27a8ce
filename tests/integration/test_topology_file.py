"""A swarm of two engines, with labels, limits, a lossy link and failure domains, from a file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.faults.topology_file import TopologyFile, recorded_nodes
from harness.lab import probe_features
from harness.results import read_run
from harness.trial import read_lines
from harness.trial.oracles import of_the_scenario

pytestmark = pytest.mark.integration

RACKS = Path(__file__).parents[2] / "examples" / "racks"

#: A second scenario next to the example's own, which looks at what the file says from the inside.
SEEN = '''

GONE = Expectation(
    "limits that are gone", unit="1", at_most=0, source="the file", no_control="no scenario"
)


@pytest.mark.swarm(managers=3, workers=2)
def test_what_the_file_says_holds(swarm, faults, trial, measure):
    """It holds, also for a node that was off."""
    from harness.faults.targets import Targets

    engines = {member.name: member.engine.partition("+")[0] for member in swarm.members()}
    assert engines == dict(m1="20.10.24", m2="20.10.24", m3="20.10.24", w1="28.5.2", w2="28.5.2")
    targets = Targets(swarm.lab, swarm)
    for label, names in (("domain=b", ["m2", "w2"]), ("disk=hdd", ["w1"]), ("disk=ssd", ["w2"])):
        assert [node.name for node in targets.nodes(f"label:{label}")] == names
    w2 = swarm.lab.node("w2")
    with faults.kill_node(w2):
        pass
    swarm.wait_for_ready([w2])
    limits = [each for each in trial.active_faults.active if each.name == "memory-limited"]
    measure(GONE, len([each for each in limits if "768.0 MiB" not in each.evidence()]))
'''


def run(folder: Path, topology: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "--lab=namespaces", "--topology", topology],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, as_root: None) -> Path:
    """A project with the example's scenario, and one more."""
    shutil.copytree(RACKS, tmp_path / "chaos")
    with (tmp_path / "chaos" / "test_rack_lost.py").open("a") as file:
        file.write(SEEN)
    return tmp_path


def test_a_swarm_is_what_its_file_says_and_loses_a_rack(project: Path) -> None:
    done = run(project, "chaos/racks.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    lost, seen = read_run(project / "reports" / "latest").trials
    file = TopologyFile.load(RACKS / "racks.toml")
    assert {measure.ok for measure in of_the_scenario(lost.record.measures)} == {True}
    for trial in (lost, seen):
        given = trial.record.inputs
        assert given.topology == f"3m2w,workers=28.5.2@{file.id}"
        assert recorded_nodes(given.topology) == file.topology
        assert given.engine.version.startswith("20.10.24")
        assert TopologyFile.load(trial.folder / "topology.json") == file
    entries: list[dict[str, Any]] = list(read_lines(lost.folder / "journal.jsonl"))
    injected = [entry["fault"] for entry in entries if entry["kind"] == "fault.inject"]
    assert injected == ["memory-limited", "cpu-limited", "network-loss", "network-cut"]
    assert sum(entry["kind"] == "fault.healed" for entry in entries) == len(injected)


def test_a_delay_is_refused_where_the_kernel_has_no_netem(project: Path) -> None:
    if probe_features().has("netem"):
        pytest.skip("this kernel has netem")
    text = (RACKS / "racks.toml").read_text().replace('loss = "1%"', 'delay = "5ms"')
    (project / "slow.toml").write_text(text)
    done = run(project, "slow.toml")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "which needs netem, and this kernel does not have it" in done.stdout + done.stderr
    assert not (project / "reports").exists()
