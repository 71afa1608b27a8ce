"""A lab that others keep from the CPU is doubted, through the real command; its own load is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.engine import Engine
from harness.probes.sampling.starvation import MOST, STALE
from harness.trial import read_lines

pytestmark = pytest.mark.integration

#: Busy loops run on a node, so that its lab always wants a CPU, and more of them beside the lab, in
#: a group that is weighed against the lab's own.
SCENARIO = """
import contextlib
import os
import signal
import subprocess
import time

import pytest

from harness.trial import Expectation
from harness.wait import NotYet, wait_for

ANSWERS = Expectation("answers", unit="1", at_least=1, no_control="a sound scenario")
CPUS = os.cpu_count()


@contextlib.contextmanager
def busy(groups, loops_per_cpu):
    # Not the harness's own children, whose CPU time counts as the lab's: another process's.
    starts = ["sh", "-c", "while :; do :; done >/dev/null 2>&1 & echo $!"]
    loops = [int(subprocess.check_output(starts)) for _ in range(loops_per_cpu * CPUS)]
    try:
        for loop in loops:
            for group in groups:
                (group / "cgroup.procs").write_text(str(loop))
        yield
    finally:
        for loop in loops:
            os.kill(loop, signal.SIGKILL)
        wait_for(lambda: gone(loops), state="the loops to be gone", within=10)


def gone(loops):
    left = [loop for loop in loops if runs(loop)]
    return NotYet(f"{len(left)} are there") if left else True


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            state = file.read().rpartition(") ")[2][:1]
    except OSError:  # it ended just now
        return False
    return state not in ("Z", "X")  # which have only to be reaped, by the machine's first process


@contextlib.contextmanager
def beside(lab, node):
    files = {"cpu.shares": (64, 1024), "cpu.weight": (6, 100)}
    for group in {path.parent for path in node.here.groups.entry()}:
        for name in files:
            if (group / name).exists():
                weighed, file = group, name
    load = weighed.with_name(f"{weighed.name}-beside")
    load.mkdir()
    (weighed / file).write_text(str(files[file][0]))
    (load / file).write_text(str(files[file][1]))
    try:
        with busy(node.here.groups.leaves(), 1), busy([load], 4):
            yield
    finally:
        load.rmdir()


def within(lab, node):
    return busy(node.here.groups.leaves(), 4)


@pytest.mark.swarm(managers=1)
def test_asked(swarm, lab, measure):
    load = {"beside": beside, "within": within}[os.environ["BUSY"]]
    with load(lab, swarm.leader):
        answers, ends = 0, time.monotonic() + 10
        while time.monotonic() < ends:
            answers += bool(swarm.leader.client(timeout=60).ping())
    measure(ANSWERS, answers)
"""


def ran(folder: Path, busy: str) -> tuple[int, dict[str, str], dict[str, float]]:
    """Run the scenario; return the exit code, its record and what its CPU time went to."""
    (folder / "conftest.py").write_text('pytest_plugins = ["harness.pytest_plugin"]\n')
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:locust -p no:testinfra\n")
    (folder / "test_asked.py").write_text(SCENARIO)
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "run", "--lab=namespaces", "test_asked.py"],
        cwd=folder,
        env={**os.environ, "BUSY": busy},
        capture_output=True,
        text=True,
        check=False,
    )
    [trial] = [path.parent for path in folder.glob("reports/2*/trials/*/trial.json")]
    journal = read_lines(trial / "journal.jsonl")
    spent = [row for row in journal if row["kind"] == "machine.cpu"]
    if not spent:
        pytest.skip("this kernel has no pressure stall information for cgroups of version 2")
    return done.returncode, json.loads((trial / "trial.json").read_text()), spent[0]


def test_a_lab_that_others_starve_does_not_judge(
    tmp_path: Path, as_root: None, stable: Engine
) -> None:
    code, record, spent = ran(tmp_path, "beside")
    assert (code, record["verdict"]) == (2, "unknown"), record["reason"]
    assert "kept the lab's processes waiting for a CPU" in record["reason"]
    assert spent["starved"] > MOST * spent["seconds"] + STALE


def test_a_lab_that_is_busy_itself_does(tmp_path: Path, as_root: None, stable: Engine) -> None:
    code, record, spent = ran(tmp_path, "within")
    cpu_seconds = spent["seconds"] * (os.cpu_count() or 1)
    left = cpu_seconds - spent["others"]  # the other lane's guests, say
    assert spent["lab"] > 0.4 * left, "the load on a node is the lab's own"
    assert spent["starved"] <= spent["others"] + spent["stolen"]
    if spent["others"] < MOST * cpu_seconds:  # others may be at work, too
        assert (code, record["verdict"]) == (0, "pass"), record["reason"]
