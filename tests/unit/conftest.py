"""Scenarios that real pytest runs in folders of their own, in a lab that is only pretended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.trial import read_lines

CONFTEST = '''
import os
from types import SimpleNamespace as Facts

from harness.errors import LabError

pytest_plugins = ["harness.pytest_plugin"]
os.geteuid = lambda: int(os.environ.get("FAKE_UID", "0"))


class Dockerd:
    """Runs while its node does."""

    def __init__(self, node):
        self.node = node

    @property
    def alive(self):
        return self.node.up

    def ping(self, timeout=2.0):
        return self.node.up


class Node:
    """Can be killed and started, and nothing else."""

    def __init__(self, name):
        self.name, self.up = name, True
        self.dockerd = Dockerd(self)

    def kill(self):
        self.up = os.environ.get("FAKE_NODE") == "immortal"

    def start(self):
        if os.environ.get("FAKE_NODE") == "dead for good":
            raise LabError(f"{self.name} did not come up")
        self.up = True


class Lab:
    nodes = {"m1": Node("m1")}
    node = nodes.__getitem__

    @property
    def here(self):
        raise LabError("a pretended lab has no processes")

    def collect_logs(self, into):
        (into / "m1.log").write_text("log")

    def close(self):
        if os.environ.get("FAKE_LAB") == "sticky":
            raise LabError("the lab left something behind", hint="clean up")


def open_lab(setup):
    if os.environ.get("FAKE_LAB") == "broken":
        raise LabError("m1 did not come up: no bridge")
    setup.lab = Lab()
    setup.stack.callback(setup.lab.close)
    for warning in setup.request.topology.warnings():
        setup.trial.journal.write("note", text=warning)
    return setup.lab


def engine(provider, name):
    if os.environ.get("FAKE_ENGINE") == "broken":
        raise LabError("the engine cannot be had")
    return Facts(version="26.1.5", source="fake", digest="d")


def pytest_configure():
    from harness.lab.features import KernelFeatures, Tried
    from harness.pytest_plugin import trial_protocol, trial_setup
    from harness.swarm import lab_makers

    trial_protocol.probe_features = lambda: KernelFeatures({"netem": Tried(False)})

    trial_setup.TrialSetup.open_lab = open_lab
    lab_makers.NamespacesMaker.engine = engine
'''

#: Without hypothesis: importing it is a third of what such a run costs.
INI = (
    "[pytest]\n"
    "addopts = -p no:locust -p no:testinfra -p no:hypothesispytest\n"
    "filterwarnings = error\n"
)


#: One line, so that a test's text begins on the second. A trial without a bound says nothing.
PRELUDE = (
    "import pytest; from harness.trial import Expectation; "
    "KEPT = Expectation('kept', unit='s', at_most=2)"
)


@dataclass
class Ran:
    """A run that is over."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def run(self) -> Path:
        return self.folder / "reports" / "latest"

    def records(self) -> list[dict[str, Any]]:
        return [
            json.loads(path.read_text()) for path in sorted(self.run.glob("trials/*/trial.json"))
        ]

    def kinds(self) -> list[str]:
        [journal] = self.run.glob("trials/*/journal.jsonl")
        return [entry["kind"] for entry in read_lines(journal)]

    def counted(self) -> dict[str, int]:
        """pytest's last line, as {"passed": 1}."""
        last = self.out.strip().splitlines()[-1]
        return {word: int(number) for number, word in re.findall(r"(\d+) ([a-zA-Z]+)", last)}


@pytest.fixture
def pretended(tmp_path: Path) -> Path:
    """A folder whose scenarios run in the pretended lab."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text(INI)
    return tmp_path


@pytest.fixture
def scenario(pretended: Path) -> Callable[..., Any]:
    """A function that runs the text of a scenario and tells what came of it."""
    tmp_path = pretended

    def run(text: str, *args: str, **environment: str) -> Any:
        (tmp_path / "test_it.py").write_text(f"{PRELUDE}\n{text}")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--lab=namespaces", *args],
            cwd=tmp_path,
            env={**os.environ, "SWARM_CHAOS_CACHE": str(tmp_path / "cache"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(tmp_path, done.returncode, done.stdout, done.stderr)

    return run
