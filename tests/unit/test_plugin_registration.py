"""What the plugin registers where: the host's part, the trial's part, and how many workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engine import EngineFacts
from harness.errors import UsageError
from harness.lab import Topology
from harness.pytest_plugin import workers
from harness.pytest_plugin.markers import TrialPoint
from harness.pytest_plugin.trial_request import TrialRequest
from harness.vm import pool

CONFTEST = """
import sys

pytest_plugins = ["harness.pytest_plugin"]

def pytest_sessionfinish(session):
    names = {name for name, _ in session.config.pluginmanager.list_name_plugin()}
    print("\\nREGISTERED", *sorted(name for name in names if name.startswith("swarm-chaos")))
    print("IMPORTED", *sorted(name for name in sys.modules if name.startswith("harness.")))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    return tmp_path


#: It is no news here that the plugin was imported before pytest could rewrite it.
QUIET = ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


def session(project: Path, *args: str, first: str = "") -> dict[str, set[str]]:
    """What a session has registered and imported, by the first word of its lines."""
    code = f"{first}\nimport sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-s", *QUIET, *args],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {words[0]: set(words[1:]) for words in lines if words}


def test_the_microvm_lab_sends_trials_and_runs_none_here(project: Path) -> None:
    registered = session(project, "--lab=microvm")["REGISTERED"]
    assert registered == {"swarm-chaos-run", "swarm-chaos-remaining", "swarm-chaos-host"}


def test_the_namespaces_lab_runs_trials_here(project: Path) -> None:
    registered = session(project, "--lab=namespaces")["REGISTERED"]
    assert registered == {"swarm-chaos-run", "swarm-chaos-remaining", "swarm-chaos-trial"}


def test_a_guest_registers_the_trial_and_imports_nothing_of_the_hosts(project: Path) -> None:
    out = project / "out" / "trial"
    told = session(project, "--lab=namespaces", f"--trial-into={out}")
    assert told["REGISTERED"] == {"swarm-chaos-report-log", "swarm-chaos-trial"}
    assert "harness.pytest_plugin.trial_protocol" in told["IMPORTED"]
    hosts = ("results", "report", "snapshots", "pytest_plugin.host", "pytest_plugin.guest_runner")
    assert [name for name in told["IMPORTED"] if name.removeprefix("harness.") in hosts] == []


def test_the_plugin_may_be_imported_before_it_is_registered(project: Path) -> None:
    session(project, "--lab=namespaces", first="import harness.pytest_plugin.fixtures")


# -- workers ---------------------------------------------------------------------------------------


def workers_for(
    monkeypatch: pytest.MonkeyPatch, lab: str, *args: str, memory: int | None = None
) -> int | None:
    def fitting(*, guest_mib: int) -> SimpleNamespace:
        return SimpleNamespace(slots=7000 // guest_mib)

    monkeypatch.setattr(workers, "read", lambda _: SimpleNamespace(lab=lab, memory=memory))
    monkeypatch.setattr(pool, "Pool", fitting)
    config: Any = SimpleNamespace(args=list(args))
    return workers.pytest_xdist_auto_num_workers(config)


def test_as_many_workers_as_guests_find_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers_for(monkeypatch, "microvm", "scenarios") == 7000 // pool.own_mib(3000)
    assert workers_for(monkeypatch, "microvm", "scenarios", memory=4000) == 7000 // 1800
    assert workers_for(monkeypatch, "namespaces", "scenarios/test_x.py") == 1
    assert workers_for(monkeypatch, "microvm", "tests/unit") is None


def test_wrong_options_are_left_to_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise UsageError("no")

    config: Any = SimpleNamespace(args=["scenarios"])
    monkeypatch.setattr(workers, "read", refuse)
    assert workers.pytest_xdist_auto_num_workers(config) is None


# -- the inputs of a record ------------------------------------------------------------------------


def test_host_and_guest_make_the_same_inputs() -> None:
    engine = EngineFacts(
        name="debian:trixie",
        version="26.1.5",
        source="debian:trixie docker.io",
        digest="d" * 64,
        dockerd="/usr/sbin/dockerd",
        path="/usr/bin",
        cgroups="v2",
        containerd="1.7.24",
        cli="26.1.5",
    )
    request = TrialRequest(
        scenario="scenarios/test_x.py::test_x",
        point=TrialPoint("stable", 7),
        topology=Topology(3, 2),
        others=("28.0.0", "29.0.0"),
        cpus=2,
        memory=8000,
    )
    inputs = request.inputs(engine, lab="microvm", kernel="6.12", clock="virtual")
    assert inputs.engine.name == "stable", "as it was asked for, however the guest's is named"
    assert (inputs.seed, inputs.topology, inputs.clock) == (7, "3m2w", "virtual")
    assert inputs.options == {
        "other_engines": "28.0.0 29.0.0",
        "cpus": "2",
        "memory_mib": "8000",
    }
    assert request.inputs(engine, lab="microvm", kernel="6.12", clock="real").clock == "real"
