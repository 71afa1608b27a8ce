"""The vagrant lab on machines that Vagrant makes: kernels of their own, under emulation or not.

Takes a quarter of an hour with emulated machines on two CPUs, and needs a box, so it runs when it
is asked to: .ci/vagrant makes what it needs, or SWARM_CHAOS_TEST_VAGRANT=1 where all of it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        "SWARM_CHAOS_TEST_VAGRANT" not in os.environ,
        reason="takes a quarter of an hour and a box: .ci/vagrant",
    ),
    pytest.mark.skipif(shutil.which("vagrant") is None, reason="no vagrant here: .ci/vagrant"),
]

#: One task, so two of the three nodes have nothing but the routing mesh to answer with.
SCENARIO = """
import pytest
from harness.swarm import APP_IMAGE, APP_PORT, Service, Workload
from harness.trial import Expectation

APP = Service(
    "app", APP_IMAGE, ("web",), replicas=1, port=APP_PORT,
    published=8080, publish_mode="ingress", endpoint="vip",
)
WEB = Workload("web", ("web",), (APP,), entry="app")
NEW_LEADER = Expectation(
    "time to a new leader", unit="s", at_most=45,
    source="swarmkit: an election takes 10 to 20 ticks of 1 s, or two rounds",
    no_control="the harness's own suite has it",
)


@pytest.mark.deadline(1800)
@pytest.mark.swarm(managers=3)
def test_leader_lost(swarm, faults, leadership, measure):
    web, leader = swarm.deploy(WEB, within=400), swarm.leader
    with faults.kill_dockerd(leader) as outage:
        measure(NEW_LEADER, leadership.time_to_new_leader(other_than=leader, since=outage))
    web.wait_serving(swarm.lab.client_host(), within=400)
    for node in swarm.managers:
        print("kernel of", node.name, node.run(["uname", "-nr"]).text)
"""


@pytest.fixture
def labs() -> Iterator[Path]:
    """Where machines keep their state: a path short enough for sockets, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-chaos-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_a_swarm_on_machines_of_vagrants_survives_its_leader(tmp_path: Path, labs: Path) -> None:
    scenario = tmp_path / "test_machines.py"
    scenario.write_text(SCENARIO)
    reports = tmp_path / "reports"
    command = [
        *(sys.executable, "-m", "harness.cli", "run", str(scenario), "--lab", "vagrant"),
        *("--topology", "3m", "--reports", str(reports), "-s"),
    ]
    # What it says is for whoever waits, line by line, too.
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "SWARM_CHAOS_LABS": str(labs)}, check=False
    )
    assert ended.returncode == 0
    (journal,) = reports.glob("latest/trials/*/journal.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    proven = {e["id"].rpartition("-")[0] for e in entries if e["kind"] == "fault.evidence"}
    assert proven == {"dockerd-killed"}
    logs = {log.name for log in journal.parent.glob("logs/*.log") if log.stat().st_size}
    assert logs == {"m1.log", "m2.log", "m3.log"}
    assert list(labs.iterdir()) == []
    assert machines_of_libvirt() == []


def machines_of_libvirt() -> list[str]:
    """The names of its machines that begin as those of a lab do; none without libvirt."""
    if shutil.which("virsh") is None:
        return []
    virsh = ["virsh", "--connect", "qemu:///system", "list", "--all", "--name"]
    named = subprocess.run(virsh, capture_output=True, text=True, check=True).stdout.split()
    return [name for name in named if name.startswith("vagrant-")]
