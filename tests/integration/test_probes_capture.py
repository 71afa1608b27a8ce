"""Packets of nodes, captured: what dies and comes back is in one file, and nothing runs on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_builds import LabOf

from harness.faults import Faults
from harness.probes.capture import Capture
from harness.swarm import Swarm
from harness.trial import Trial, read_lines

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump"),
]


def packets(file: Path, expression: str) -> Iterator[str]:
    """The packets of a capture that an expression of tcpdump's picks, a line each."""
    done = subprocess.run(
        ["tcpdump", "-n", "-r", file, expression], capture_output=True, text=True, check=True
    )
    return iter(done.stdout.splitlines())


def test_each_nodes_packets_are_captured_over_its_death(lab_of: LabOf, open_trial: Trial) -> None:
    with lab_of(1, 1) as lab:
        capture = Capture(lab, open_trial)
        swarm = Swarm.form(lab)
        [worker] = swarm.workers
        with Faults(open_trial, lab).kill_node(worker):
            pass
        swarm.wait_for_ready([worker])
        capture.close()
    folder = open_trial.folder / "captures"
    assert {file.name for file in folder.iterdir()} == {"m1.pcap", "w1.pcap"}
    joins = [line for line in packets(folder / "w1.pcap", "tcp port 2377") if "Flags [S]," in line]
    assert len(joins) >= 2, "before its death and after it"
    [entry] = [
        row for row in read_lines(open_trial.folder / "journal.jsonl") if row["kind"] == "capture"
    ]
    assert entry["nodes"]["w1"]["packets"] == len(list(packets(folder / "w1.pcap", "")))
    assert entry["nodes"]["w1"]["missed"] == 0
