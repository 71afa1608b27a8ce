"""A worker of pytest-xdist that is killed in mid-trial: its guest goes, and the run goes on."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.errors import EXIT_TROUBLE
from harness.results import read_run
from harness.vm.scratch import GUEST, PAYLOAD, abandoned, scratch_root
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

#: Both want the swarm that most scenarios have, so it is frozen, and warmed up, for them as well.
SCENARIOS = """
import pytest

from harness.trial import Expectation

ANSWERS = Expectation("answers", unit="1", at_least=1, no_control="a test of the harness")
TURNS = Expectation("turns", unit="1", at_least=1, no_control="a test of the harness")


@pytest.mark.swarm(managers=3, workers=2)
def test_struck(swarm, measure):
    measure(TURNS, 1)
    while True:
        pass


@pytest.mark.swarm(managers=3, workers=2)
def test_ends(swarm, measure):
    measure(ANSWERS, swarm.leader.docker.ping())
"""


@contextlib.contextmanager
def running(project: Path) -> Iterator[tuple[subprocess.Popen[str], list[str], threading.Event]]:
    """The run, the lines that it prints, and an event for when test_struck is in its loop."""
    (project / "conftest.py").write_text('pytest_plugins = ["harness.pytest_plugin"]\n')
    (project / "pytest.ini").write_text("[pytest]\naddopts = -p no:locust -p no:testinfra\n")
    (project / "tmp").mkdir()
    (project / "chaos").mkdir()
    (project / "chaos" / "test_killed.py").write_text(SCENARIOS)
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "harness.cli.main", "run", "chaos"),
            *("--lab=microvm", "-n", "2", "--max-worker-restart=1"),
        ],
        cwd=project,
        env={**os.environ, "TMPDIR": str(project / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    under_way = threading.Event()

    def read() -> None:
        assert run.stdout is not None
        for line in run.stdout:
            lines.append(line)
            if "measured turns" in line:
                under_way.set()
        under_way.set()  # it has ended: whoever waits sees that

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield run, lines, under_way
    finally:
        run.kill()
        run.wait()
        reader.join()
        assert run.stdout is not None
        run.stdout.close()


def guest_of_the_struck(run: subprocess.Popen[str]) -> tuple[psutil.Process, psutil.Process, Path]:
    """The worker whose guest is in the endless loop, its QEMU, and the guest's scratch folder."""
    for qemu in psutil.Process(run.pid).children(recursive=True):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):  # the other guest may be gone
            worker = qemu.parent()
            found = re.search(rf"[^ ,=:]*/{GUEST}[^/ ,:]+", " ".join(qemu.cmdline()))
            if worker is None or found is None:
                continue
            folder = Path(found[0])
            if "measured turns" in (folder / "console.log").read_text(errors="replace"):
                return worker, qemu, folder
    raise AssertionError("no guest is in the trial")


def test_its_trial_is_unknown_and_its_guest_is_gone(tmp_path: Path) -> None:
    with running(tmp_path) as (run, lines, under_way):
        assert under_way.wait(600), "".join(lines)
        assert run.poll() is None, "".join(lines)
        worker, qemu, folder = guest_of_the_struck(run)
        worker.kill()
        wait_for(
            lambda: not qemu.is_running() or NotYet("its QEMU runs"),
            state="the killed worker's QEMU to be gone",
            within=10,
        )
        code = run.wait(600)
    said = "".join(lines)
    assert code == EXIT_TROUBLE, said
    assert "UNKNOWN chaos/test_killed.py::test_struck" in said
    stored = read_run((tmp_path / "reports" / "latest").resolve())
    assert [trial.record.verdict for trial in stored.trials] == ["pass"], said
    assert all(trial.id.startswith("ends") for trial in stored.trials)
    # Either another guest of the run has swept them, or `clean` lists them.
    wait_for(
        lambda: not left(tmp_path / "tmp", folder) or NotYet(str(left(tmp_path / "tmp", folder))),
        state="what the killed worker left to be gone or listed",
        within=20,
    )
    assert not [*(tmp_path / "reports" / "latest" / "trials").glob(".*")]


def left(temporary: Path, folder: Path) -> list[Path]:
    """Scratch folders of the run that are neither gone nor found by what `clean` looks with."""
    there = [path for prefix in (GUEST, PAYLOAD) for path in temporary.glob(f"{prefix}*")]
    found = {*abandoned(temporary), *abandoned(scratch_root())}
    return [path for path in (*there, folder) if path.exists() and path not in found]
