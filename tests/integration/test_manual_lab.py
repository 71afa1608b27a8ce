"""Faults by hand, through the real commands, each of them a process of its own."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none
from processes import proc_text, running_with

from harness.engine import Engine
from harness.errors import EXIT_TROUBLE, EXIT_USAGE
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

GONE_WITHIN = 10.0


@pytest.fixture
def labs() -> Iterator[Path]:
    """A short path: unix sockets must fit below it."""
    folder = Path(f"/var/tmp/sc-hand-{os.getpid()}")
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(labs: Path) -> Iterator[Callable[..., Any]]:
    """Starts a command that stays; it is killed at the end."""
    started = []

    def start(*args: str) -> subprocess.Popen[Any]:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli.main", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SWARM_CHAOS_LABS": str(labs)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        not_none(process.stdout).close()
    give_up = time.monotonic() + GONE_WITHIN
    while list(labs.iterdir()) and time.monotonic() < give_up:
        time.sleep(0.05)


@pytest.fixture
def held(stable: Engine, start: Callable[..., Any]) -> Any:
    """A lab of one node that `lab up` holds open: its process."""
    process = start("lab", "up", "--topology=1m", "--bare")
    hear(process, b"Ctrl-C ends the lab", 180)
    return process


@pytest.fixture
def call(labs: Path) -> Callable[..., Any]:
    """Calls a command and returns exit code and what it said."""

    def call(*args: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli.main", *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SWARM_CHAOS_LABS": str(labs)},
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    return call


def hear(process: Any, words: bytes, within: int) -> None:
    heard = b""
    give_up = time.monotonic() + within
    while words not in heard:
        left = give_up - time.monotonic()
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, left))
        chunk = os.read(process.stdout.fileno(), 4096) if readable else b""
        assert chunk, heard.decode()
        heard += chunk


def status(call: Callable[..., Any]) -> Any:
    code, said = call("status", "--json")
    assert code == 0
    return json.loads(said)


def test_inject_status_heal(held: Any, call: Callable[..., Any]) -> None:
    [lab] = status(call)
    assert lab["injected"] == []
    assert lab["nodes"]["m1"]["answers"]

    code, said = call("inject", "dockerd-killed", "m1")
    assert code == 0
    assert "injected dockerd-killed-1 on m1: pid" in said
    assert call("inject", "network-loss", "m1 -> *", "share=30%")[0] == 0
    [lab] = status(call)
    assert [page["id"] for page in lab["injected"]] == ["dockerd-killed-1", "network-loss-2"]
    assert (
        lab["nodes"]["m1"] | {"up": True, "dockerd": False, "answers": False} == lab["nodes"]["m1"]
    )

    code, said = call("inject", "node-paused", "m1")
    assert code == EXIT_TROUBLE
    assert "contradicts dockerd-killed-1" in said
    for wrong, words in (
        (("network-loss", "m1", "share=1.2"), "'1.2' is not a valid share"),
        (("network-loss", "m1", "share=-0.1"), "is not a valid share"),
        (("network-delay", "m1", "delay=200"), "'200' is not a valid duration"),
        (("node-killed", "m9"), "no node 'm9'"),
        (("node-kiled", "m1"), "did you mean node-killed"),
        (("network-flapping", "m1"), "--for"),
    ):
        code, said = call("inject", *wrong)
        assert (code, words in said) == (EXIT_USAGE, True), said
    assert len(status(call)[0]["injected"]) == 2, "nothing was touched"

    code, said = call("heal")
    assert code == 0
    assert said.splitlines() == [
        "healed network-loss-2 on m1 -> *",
        "healed dockerd-killed-1 on m1",
    ]
    [lab] = status(call)
    assert lab["injected"] == []
    assert lab["nodes"]["m1"]["answers"]
    assert call("heal") == (0, "nothing is injected\n")


def test_what_a_killed_process_has_injected_is_healed_by_another(
    held: Any, start: Callable[..., Any], call: Callable[..., Any]
) -> None:
    injector = start("inject", "node-killed", "m1", "--for=10m")
    hear(injector, b"injected node-killed-1 on m1", 30)
    injector.send_signal(signal.SIGKILL)
    injector.wait()
    [lab] = status(call)
    assert [page["id"] for page in lab["injected"]] == ["node-killed-1"]
    assert not lab["nodes"]["m1"]["up"]
    assert call("heal", "node-killed-1") == (0, "healed node-killed-1 on m1\n")
    [lab] = status(call)
    assert lab["nodes"]["m1"]["answers"]
    code, said = call("lab", "enter", "m1", "hostname")
    assert (code, said) == (0, "m1\n")


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [(signal.SIGKILL, -9, ""), (signal.SIGTERM, 143, "swarm-chaos: ended by SIGTERM")],
)
def test_what_is_killed_while_it_injects_or_heals_is_healed_by_the_next(
    held: Any,
    start: Callable[..., Any],
    call: Callable[..., Any],
    labs: Path,
    number: signal.Signals,
    code: int,
    says: str,
) -> None:
    def struck(entry: str, *command: str) -> None:
        """Run a command, and strike it when its journal has an entry."""
        before = set(labs.glob("*/by-hand/*/journal.jsonl"))
        process = start(*command)

        def under_way() -> bool | NotYet:
            assert process.poll() is None, process.stdout.read().decode()
            journals = set(labs.glob("*/by-hand/*/journal.jsonl")) - before
            return any(entry in path.read_text() for path in journals) or NotYet("not yet")

        wait_for(under_way, state=entry, within=60, every=0.001)
        process.send_signal(number)
        assert process.wait(60) == code
        assert says in process.stdout.read().decode()

    struck('"fault.inject"', "inject", "node-paused", "m1")
    code_of_healing, said = call("heal")
    assert code_of_healing == 0, said
    assert call("inject", "dockerd-killed", "m1")[0] == 0
    struck('"fault.heal"', "heal")
    assert call("heal")[0] == 0
    [lab] = status(call)
    assert lab["injected"] == []
    assert lab["nodes"]["m1"]["answers"]


def test_one_for_a_time_is_healed_by_its_end_and_by_an_interrupt(
    held: Any, start: Callable[..., Any], call: Callable[..., Any]
) -> None:
    code, said = call("inject", "network-cut", "m1", "--for=1s")
    assert code == 0
    assert "healed network-cut-1" in said
    injector = start("inject", "network-cut", "m1", "--for=10m")
    hear(injector, b"injected network-cut-1", 30)
    injector.send_signal(signal.SIGINT)
    hear(injector, b"healed network-cut-1", 30)
    assert status(call)[0]["injected"] == []


def test_a_schedule_is_carried_out(held: Any, call: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "chaos.toml"
    file.write_text(
        """
        [[fault]]
        at = "0s"
        for = "1s"
        fault = "network-cut"
        target = "m1"

        [[fault]]
        at = "0.2s"
        for = "200ms"
        every = "400ms"
        times = 2
        fault = "network-loss"
        target = "m1 -> *"
        with = {share = "50%"}
        """
    )
    code, said = call("schedule", "run", str(file))
    assert code == 0, said
    assert "3 injections, 0 left out" in said
    assert status(call)[0]["injected"] == []


def test_kill_9_in_mid_fault_leaves_nothing(
    held: Any, call: Callable[..., Any], labs: Path, host_state: Callable[..., dict[str, Any]]
) -> None:
    [lab] = status(call)
    for words in (
        ("network-cut", "m1", "plane=gossip"),
        ("network-rate", "m1", "rate=10mbit"),
        ("cpu-hogged", "m1"),
        ("descriptors-exhausted", "m1"),
        ("node-paused", "m1"),
    ):
        code, said = call("inject", *words)
        assert code == 0, said
    before = host_state()
    assert left_of(lab["lab"], labs)
    held.send_signal(signal.SIGKILL)
    held.wait()
    give_up = time.monotonic() + GONE_WITHIN
    while left := left_of(lab["lab"], labs):
        assert time.monotonic() < give_up, left
        time.sleep(0.05)
    after = host_state()
    for state in (before, after):
        del state["groups"]  # others may be at work
    assert after == before
    assert call("status") == (0, "no lab is open\n")
    code, said = call("heal")
    assert code == EXIT_USAGE
    assert "no lab is open here" in said


def left_of(lab_id: Any, labs: Path) -> Any:
    """What is left of a lab: processes, groups, folders."""
    left = [str(path) for path in labs.iterdir()]
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]
    left += [str(group) for root in roots for group in root.glob(f"swarm-chaos/{lab_id}")]
    return left + [
        f"process {pid} {proc_text(pid, 'cmdline')}" for pid in running_with(lab_id.encode())
    ]
