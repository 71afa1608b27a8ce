"""A run on a Dask cluster: real schedulers and workers, in a lab that is only pretended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import main
from harness.cli.run_on import split_options
from harness.pytest_plugin.cluster.controller import Gathered
from harness.pytest_plugin.cluster.job import Job, code_digest, run_job
from harness.results import read_run
from harness.wait import NotYet, wait_for

pytest.importorskip("distributed")

TRIALS = int(os.environ.get("SWARM_CHAOS_CLUSTER_TRIALS", "4"))
"""More by hand: SWARM_CHAOS_CLUSTER_TRIALS=40 pytest tests/unit/test_cluster.py."""

PATIENCE = 600.0 + 60.0 * TRIALS
"""Seconds for a run: each trial is a process of its own, some 15 s on a machine that is busy."""

#: Says where it is, so that its worker can be struck; then waits until that was done.
SCENARIO = """
import os, pathlib, pytest, time

from harness.trial import Expectation

KEPT = Expectation("kept", unit="s", at_most=2)

@pytest.mark.parametrize("x", range(int(os.environ["TRIALS"])))
def test_x(x, lab, measure):
    begun = pathlib.Path(os.environ["BEGUN"])
    (begun / f"{x}-{os.environ['ME']}-{time.time_ns()}").touch()
    while not (begun / "go").exists():
        time.sleep(0.05)
    measure(KEPT, 1 + x / 100)

def test_bad(lab, measure):
    measure(KEPT, 3)
"""


@pytest.fixture
def project(pretended: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scenario, which is also where workers are started."""
    tmp_path = pretended
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/test_it.py").write_text(SCENARIO)
    (tmp_path / "begun").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIALS", str(TRIALS))
    monkeypatch.setenv("BEGUN", str(tmp_path / "begun"))
    monkeypatch.setenv("ME", "controller")
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path / "cache"))
    return tmp_path


@contextmanager
def dask(
    project: Path, part: str, *args: str, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{part}", *args],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def address(project: Path) -> Iterator[str]:
    file = project / "scheduler.json"
    with dask(
        project, "scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard",
        f"--scheduler-file={file}",
    ):  # fmt: skip
        yield wait_for(lambda: address_in(file), state="a scheduler", within=600)


def address_in(file: Path) -> str | NotYet:
    """The scheduler's address; Dask does not write its file at once."""
    try:
        return str(json.loads(file.read_text())["address"]).removeprefix("tcp://")
    except (OSError, ValueError):
        return NotYet("starts")


def worker(project: Path, address: str, name: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return dask(
        project, "worker", f"tcp://{address}", "--nthreads=1", "--no-nanny", "--no-dashboard",
        f"--name={name}", f"--local-directory={project / 'dask'}", ME=name,
    )  # fmt: skip


def swarm_chaos(project: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *args],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_lost_worker_costs_no_trial_and_gives_none_twice(project: Path, address: str) -> None:
    begun = project / "begun"
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(worker(project, address, name)) for name in ("one", "two")
        }
        run = stack.enter_context(
            swarm_chaos(
                project,
                "run",
                "--on",
                f"dask://{address}",
                "--lab=namespaces",
                "-k",
                "test_x",
                f"--reports={project / 'kept'}",
                f"--junitxml={project / 'out.xml'}",
            )
        )

        def on_both() -> bool | NotYet:
            assert run.poll() is None, "it ended before a worker was lost"
            seen = {path.name.split("-")[1] for path in begun.iterdir()}
            return seen >= set(workers) or NotYet(f"only on {sorted(seen)}")

        wait_for(on_both, state="a trial on each worker", within=600)
        workers["one"].send_signal(signal.SIGKILL)
        (begun / "go").touch()
        out, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, out
    stored = read_run(project / "kept/latest")
    assert len(stored.trials) == TRIALS
    values = Counter(trial.record.measures[0].value for trial in stored.trials)
    assert values == Counter(round(1 + x / 100, 2) for x in range(TRIALS))
    assert f"{TRIALS} of {TRIALS}: scenarios/test_it.py::test_x" in out
    assert (project / "out.xml").read_text().count("<testcase ") == TRIALS
    assert len(list(begun.iterdir())) > TRIALS + 1, "one had to begin again"
    assert list((project / "kept").iterdir()) != []


def test_what_fails_there_fails_here(project: Path, address: str) -> None:
    with worker(project, address, "one"):
        run = swarm_chaos(
            project, "run", "--on", f"dask://{address}", "--lab=namespaces",
            "scenarios/test_it.py::test_bad",
        )  # fmt: skip
        out, _ = run.communicate(timeout=600)
    assert run.returncode == 1, out
    assert "1 of 1: scenarios/test_it.py::test_bad[stable-s1]: not as expected on one" in out
    assert len(read_run(project / "reports/latest").trials) == 1


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["--on", "tcp://h:1"], 64, "'tcp://h:1' is not the address of a cluster"),
        (["--on", "dask://127.0.0.1:9", "-n", "2"], 64, "-n has no meaning with --on"),
        (["--on=dask://127.0.0.1:9", "--shard", "1/2"], 64, "--shard has no meaning with --on"),
        (["--on=dask://127.0.0.1:9", "-k", "nothing"], 64, "pytest collects no trial"),
    ],
)
def test_what_cannot_be_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], args: list[str], code: int, sentence: str
) -> None:
    assert project
    assert main.call(["run", "--lab=namespaces", *args]) == code
    assert sentence in capsys.readouterr().err


def test_options_of_this_machine_stay_here() -> None:
    args = ["--reports", "r", "--engine=26.1.5", "--junitxml=x", "-k", "y"]
    assert split_options(args) == (
        {"--reports": "r", "--junitxml": "x"},
        ["--engine=26.1.5", "-k", "y"],
    )


def test_a_worker_with_other_code_runs_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = "scenarios/test_it.py::test_bad[26.1.5-s1]"
    here = SimpleNamespace(name="one", local_directory=str(project))
    monkeypatch.setattr("distributed.get_worker", lambda: here)
    job = Job("run", case, (), packaged=False, code=code_digest(case, packaged=False))
    (project / "scenarios/test_it.py").write_text("# changed")
    outcome = run_job(job)
    assert (outcome.code, outcome.archive) == (64, None)
    assert "its test_it.py, is another" in outcome.said
    (project / "scenarios/test_it.py").unlink()
    assert "start workers in the folder of the same project" in run_job(job).said


@pytest.mark.parametrize(
    ("codes", "lost", "expected"),
    [([0, 0], [], 0), ([0, 1, 2], [], 1), ([0, 2], [], 2), ([0], ["x: KilledWorker"], 2)],
)
def test_the_exit_code_is_that_of_a_run_on_one_machine(
    codes: list[int], lost: list[str], expected: int, tmp_path: Path
) -> None:
    assert Gathered(tmp_path, Counter(codes), lost).exit_code == expected
