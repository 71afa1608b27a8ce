"""A project of one's own: what `init` writes runs, a scenario without Python, another's faults."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from extension_example import install_example

from harness.engine import Engine
from harness.results import Run, read_run
from harness.trial.oracles import of_the_scenario

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
WITHOUT_PYTHON = """\
title = "A leader's death costs users little"
topology = "3m"
watch = "15s"

[[fault]]
at = "2s"
for = "10s"
fault = "dockerd-killed"
target = "leader"

[[expect]]
measure = "time to a new leader"
at_most = 45
source = "swarmkit: an election takes 10 to 20 ticks of 1 s, or two rounds"
no_control = "a test of the harness"

[[expect]]
measure = "requests lost"
at_most = 0.5
source = "a third of the users ask the dead node"
no_control = "a test of the harness"

[[expect]]
measure = "time until every task runs again"
at_most = 60
source = "they have never stopped: only a daemon dies"
no_control = "a test of the harness"
"""


def command(project: Path, *args: str, packages: Path | None = None) -> str:
    paths = {} if packages is None else {"PYTHONPATH": f"{packages}:{REPOSITORY}"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *args],
        cwd=project, env={**os.environ, **paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def latest(project: Path) -> Run:
    return read_run(project / "reports" / "latest")


def test_what_init_writes_passes(tmp_path: Path, stable: Engine) -> None:
    command(tmp_path, "init")
    command(tmp_path, "run", "chaos", "--lab=namespaces")
    [trial] = latest(tmp_path).trials
    [lost] = of_the_scenario(trial.record.measures)
    assert (lost.name, lost.ok) == ("requests lost at the other nodes", True)


def test_a_scenario_without_python_is_carried_out(tmp_path: Path, stable: Engine) -> None:
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "leader.chaos.toml").write_text(WITHOUT_PYTHON)
    command(tmp_path, "run", "--lab=namespaces")
    [trial] = latest(tmp_path).trials
    measures = {measure.name: measure for measure in of_the_scenario(trial.record.measures)}
    assert all(measure.ok for measure in measures.values()), trial.record.reason
    assert len(measures) == 3
    assert (measures["time to a new leader"].value or 0) > 1, "counted from the fault on"
    assert (trial.folder / "schedule.json").exists()


def test_a_fault_and_a_probe_of_another_package_are_used(tmp_path: Path, stable: Engine) -> None:
    folder = install_example(tmp_path)
    project = folder / "extension"
    command(
        project, "run", "chaos", "-k", "mtu_lowered", "--lab=namespaces", packages=folder / "site"
    )
    [trial] = latest(project).trials
    assert trial.record.verdict == "pass", trial.record.reason
    measures = {measure.name: measure.value for measure in trial.record.measures}
    assert (measures["bytes that the node sent"] or 0) > 0
    assert "link-mtu-lowered" in (trial.folder / "journal.jsonl").read_text()
    assert (trial.folder / "samples" / "sent_bytes.jsonl").exists()
