"""Faults of processes and members: what is refused before anything is touched, who is found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optionals import not_none
from stand_ins import UNUSED, FakeNode, fake_engine, stand_in

from harness.errors import FaultError, UsageError
from harness.faults.catalogue import kind_of, read_parameters
from harness.faults.process import (
    DockerdRestarted,
    DockerdSignalled,
    EngineChanged,
    NodeDrained,
    NodeLeft,
    PowerCut,
    TaskFlapping,
    TaskKilled,
)
from harness.faults.process import processes as finding
from harness.faults.process.restarts import _engine_for
from harness.lab import Node
from harness.swarm import Member, Swarm
from harness.wait import NotYet, wait_for


@pytest.fixture
def node(tmp_path: Path) -> SimpleNamespace:
    """A node that is off, with no disks."""
    engine = fake_engine(tmp_path)
    groups = SimpleNamespace(unified=None)
    return FakeNode(name="w1", up=False, engine=engine, disks=[], groups=groups)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda node: DockerdSignalled(UNUSED, node, signal="HUP"),
            "signal: 'HUP' is not a valid choice: give one of TERM",
        ),
        (lambda node: DockerdRestarted(UNUSED, node, flags="--debug"), "not a valid list of flags"),
        (
            lambda node: DockerdRestarted(UNUSED, node, flags=["debug"]),
            "'debug' is not a valid flag",
        ),
        (lambda node: EngineChanged(UNUSED, node, engine="25.x"), "unknown engine"),
        (lambda node: TaskKilled(UNUSED, node, service=""), "service: '' is not a valid name"),
        (
            lambda node: TaskFlapping(UNUSED, node, service="app", lives=-1.0),
            "lives: -1.0 s is not a valid duration: give a duration from 0s to 1h",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(
    node: SimpleNamespace, make: Callable[..., Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        make(node)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("dockerd-signalled", {"signal": "STOP"}, "'STOP' is not a valid choice"),
        ("dockerd-restarted", {"flags": "debug"}, "'debug' is not a valid flag"),
        ("dockerd-restarted", {"flags": "--label='"}, "cannot be split into flags"),
        ("engine-changed", {}, "needs engine"),
        ("task-flapping", {"service": "app", "lives": "2"}, "'2' is not a valid duration"),
        ("task-killed", {"service": "two words"}, "give one word"),
        ("node-drained", {"node": ""}, "'' is not a valid name"),
    ],
)
def test_words_that_cannot_be_are_refused(name: str, words: Mapping[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_parameters(kind_of(name), words)


def test_flags_are_read_word_by_word() -> None:
    read = read_parameters(kind_of("dockerd-restarted"), {"flags": "--debug --label='a=b c'"})
    assert read == {"flags": ["--debug", "--label=a=b c"]}
    assert read_parameters(kind_of("dockerd-restarted"), {}) == {"flags": []}


@pytest.mark.parametrize(
    "make",
    [
        lambda node: DockerdSignalled(UNUSED, node),
        lambda node: PowerCut(UNUSED, node),
        lambda node: TaskKilled(UNUSED, node, service="app"),
        lambda node: EngineChanged(UNUSED, node, engine="26.1.5"),
    ],
)
def test_a_node_that_is_off_is_left_alone(node: SimpleNamespace, make: Callable[..., Any]) -> None:
    with pytest.raises(FaultError, match="w1 is off"):
        make(node).precheck()


def test_without_a_disk_of_its_own_nothing_would_be_lost(node: Any) -> None:
    node.up = True
    with pytest.raises(FaultError, match="nothing would be lost") as refusal:
        PowerCut(UNUSED, node).precheck()
    assert "own-disk" in not_none(refusal.value.hint)


def test_an_engine_that_lies_beside_the_nodes_own_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"0": "26.1.5", "1": "28.5.2"}

    def at(place: Path) -> SimpleNamespace:
        return SimpleNamespace(name=f"n{place.name}", version=here[place.name], rootfs=place)

    monkeypatch.setattr("harness.faults.process.restarts.engine_at", at)
    for name in here:
        (tmp_path / name).mkdir()
    node: Any = FakeNode(engine=fake_engine(tmp_path / "0"))
    assert _engine_for(node, "newest").version == "28.5.2"
    assert _engine_for(node, "28.5.2").rootfs == tmp_path / "1"
    assert _engine_for(node, "stable").version == "26.1.5"


# -- members ---------------------------------------------------------------------------------------


class FakeSwarm(Swarm):
    """Members as given; m1 leads."""

    def __init__(self, *rows: Any) -> None:
        names = [row[0] for row in rows]
        nodes = {n: SimpleNamespace(name=n, planned_role="") for n in names}
        super().__init__(
            stand_in(SimpleNamespace(nodes=nodes, node=nodes.__getitem__, client_hosts={}))
        )
        self._rows = rows

    def members(self, by: Node | None = None) -> list[Member]:
        return [
            Member(
                id=f"id-{name}",
                name=name,
                role=role,
                state=state,
                availability=availability,
                leader=name == "m1",
                reachability="reachable" if role == "manager" else "",
                engine="26.1.5",
            )
            for name, role, state, availability in self._rows
        ]


def test_a_member_is_named_by_its_role_and_stays_the_one() -> None:
    swarm = FakeSwarm(("m1", "manager", "ready", "active"), ("w1", "worker", "ready", "active"))
    fault = NodeDrained(UNUSED, swarm, node="leader")
    assert fault.describe() == {"target": "m1"}
    fault.made_from = ("swarm", {"node": "leader"})
    assert fault.text_form() == ("swarm", {"node": "m1"})
    with pytest.raises(UsageError, match="names 2 members"):
        NodeDrained(UNUSED, swarm, node="members")
    with pytest.raises(UsageError, match="no node 'w9'"):
        NodeDrained(UNUSED, swarm, node="w9")


def test_what_is_drained_is_not_drained_again() -> None:
    swarm = FakeSwarm(("m1", "manager", "ready", "active"), ("w1", "worker", "ready", "drain"))
    with pytest.raises(FaultError, match="w1 is set to drain already"):
        NodeDrained(UNUSED, swarm, node="w1").precheck()


def test_a_manager_that_could_not_come_back_does_not_leave() -> None:
    two = FakeSwarm(("m1", "manager", "ready", "active"), ("m2", "manager", "ready", "active"))
    with pytest.raises(FaultError, match="only 1 managers are left, 2 must be"):
        NodeLeft(UNUSED, two, node="m2").precheck()
    three = FakeSwarm(*((f"m{n}", "manager", "ready", "active") for n in (1, 2, 3)))
    NodeLeft(UNUSED, three, node="m3").precheck()
    down = FakeSwarm(("m1", "manager", "ready", "active"), ("w1", "worker", "down", "active"))
    with pytest.raises(FaultError, match="w1 is down"):
        NodeLeft(UNUSED, down, node="w1").precheck()


def test_roles_are_changed_where_that_can_be() -> None:
    one = FakeSwarm(("m1", "manager", "ready", "active"), ("w1", "worker", "ready", "active"))
    for name, node, said in (
        ("node-demoted", "m1", "is the only manager"),
        ("node-demoted", "w1", "needs a manager that is ready"),
        ("node-promoted", "m1", "needs a worker that is ready"),
    ):
        with pytest.raises(FaultError, match=said):
            kind_of(name)(UNUSED, one, node=node).precheck()  # type: ignore[call-arg]


# -- processes -------------------------------------------------------------------------------------


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A program with a child of its own, started by a thread that is not its first."""
    script = (
        "import subprocess, threading\n"
        "def run():\n"
        "    subprocess.run(['sleep', '60'])\n"
        "thread = threading.Thread(target=run)\n"
        "thread.start(); thread.join()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as process:
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_children_of_every_thread_are_found(child: subprocess.Popen[bytes]) -> None:
    def found() -> NotYet | list[int]:
        return finding.children_of(child.pid) or NotYet("no child")

    [pid] = wait_for(found, state="a child", within=10)
    wait_for(
        lambda: finding.command_of(pid) == ["sleep", "60"] or NotYet("not yet sleep"),
        state="sleep to run",
        within=10,
    )
    node: Any = FakeNode(pid=child.pid, name="w1")
    assert list(finding.processes_of(node)) == [child.pid, pid]
    assert finding.host_pid(node, pid) == pid, "without a namespace both sides call it the same"
    with pytest.raises(FaultError, match="no process 1 runs on w1"):
        finding.host_pid(node, 1)


def test_states_are_told_by_the_kernel(child: subprocess.Popen[bytes]) -> None:
    assert finding.state_of(child.pid) in {"R", "S", "D"}
    child.send_signal(signal.SIGSTOP)
    wait_for(
        lambda: finding.state_of(child.pid) == "T" or NotYet(finding.state_of(child.pid)),
        state="T",
        within=5,
    )
    assert finding.state_of(2**22 + 1) == ""
    assert finding.command_of(2**22 + 1) == []
