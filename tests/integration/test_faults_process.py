"""Faults of processes and members on real nodes: each seen from outside, and its heal too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_builds import LabOf

from harness.engine import provide, resolve
from harness.errors import FaultError, HarnessError
from harness.faults import Faults
from harness.faults.process import ProcessFaults
from harness.faults.process.processes import command_of, has_ended, processes_of, state_of, task_of
from harness.images import Cache
from harness.lab import NamespacesLab, Node
from harness.lab.processes import Process
from harness.swarm import APP_IMAGE, Service, Swarm, Workload
from harness.trial import Trial, read_lines
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(1, 1) as lab:
        yield lab


@pytest.fixture(scope="module")
def swarm(lab: NamespacesLab) -> Swarm:
    swarm = Swarm.form(lab, seed=1)
    one = [Service(name, APP_IMAGE, (), replicas=1, role="worker") for name in ("a", "b", "c")]
    swarm.deploy(Workload("tasks", (), tuple(one)))
    return swarm


@pytest.fixture
def w1(lab: NamespacesLab, swarm: Swarm) -> Node:
    return lab.node("w1")


@pytest.fixture
def process(open_trial: Trial) -> ProcessFaults:
    return Faults(open_trial).process


def wait_task(node: Node, service: str) -> tuple[Any, Process]:
    def there() -> tuple[Any, Process] | NotYet:
        try:
            return task_of(node, service)
        except HarnessError as error:
            return NotYet(error.what)

    return wait_for(there, state=f"a task of {service}", within=60)


def silent(node: Node) -> bool:
    """Whether the API says nothing for a while."""
    return not node.dockerd.ping(timeout=0.4)


def ready(swarm: Swarm, node: Node) -> None:
    swarm.wait_for_ready([node], within=60)


def test_a_paused_dockerd_is_silent_and_its_tasks_go_on(process: ProcessFaults, w1: Node) -> None:
    _, task = wait_task(w1, "a")
    with process.pause_dockerd(w1) as paused:
        assert state_of(paused.pid) == "T"
        assert silent(w1)
        assert task.alive
        assert state_of(task.pid) != "T"
    assert state_of(paused.pid) != "T"
    assert w1.dockerd.ping()
    task.close()


def test_a_paused_node_stands_still_down_to_its_tasks(process: ProcessFaults, w1: Node) -> None:
    def ran() -> Any:
        ticks = {}
        for pid in processes_of(w1):
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
                ticks[pid] = int(stat[11]) + int(stat[12])
        return ticks

    with process.pause_node(w1):
        before = ran()
        assert len(before) > 5, "dockerd, containerd, shims and tasks are there"
        assert silent(w1)
        assert ran() == before
    assert w1.dockerd.ping()


def test_a_killed_task_exits_with_137(process: ProcessFaults, w1: Node) -> None:
    container, task = wait_task(w1, "a")
    with process.kill_task(w1, "a") as killed:
        assert killed.pid == task.pid
        assert not task.alive
        assert killed.container == container
    task.close()
    code = w1.docker.api.inspect_container(container)["State"]["ExitCode"]
    assert code == 137


def test_a_task_without_its_shim_is_taken_for_ended(process: ProcessFaults, w1: Node) -> None:
    container, task = wait_task(w1, "b")
    with process.kill_shim(w1, "b") as killed:
        assert has_ended(killed.shim)
        wait_for(
            lambda: (
                not w1.docker.api.inspect_container(container)["State"]["Running"]
                or NotYet("it is said to run")
            ),
            state="the engine to notice",
            within=20,
        )
    assert not task.alive
    task.close()


def test_flapping_tasks_are_killed_again_and_again(process: ProcessFaults, w1: Node) -> None:
    wait_task(w1, "c")[1].close()
    with process.flap_tasks(w1, "c", lives=0.2) as flapping:
        wait_for(
            lambda: len(flapping.kills) >= 2 or NotYet(f"{len(flapping.kills)} killed"),
            state="a second kill, of the task that replaced the first",
            within=30,
        )
    count = len(flapping.kills)
    _, task = wait_task(w1, "c")
    time.sleep(0.5)
    assert task.alive, "what comes after the heal is left alive"
    assert len(flapping.kills) == count
    task.close()


def test_containerd_is_killed_and_dockerd_has_another(process: ProcessFaults, w1: Node) -> None:
    with process.kill_containerd(w1) as killed:
        assert has_ended(killed.pid)
        assert w1.dockerd.alive
    assert w1.docker.info()["ContainerdCommit"]["ID"] != "N/A"


def test_members_change_and_change_back(process: ProcessFaults, swarm: Swarm, w1: Node) -> None:
    with process.drain(swarm, "worker") as drained:
        assert drained.member is w1
        assert swarm.member(w1).availability == "drain"
    assert swarm.member(w1).availability == "active"
    with process.promote(swarm, w1):
        assert w1.docker.info()["Swarm"]["ControlAvailable"]
        with pytest.raises(FaultError, match="contradicts"):
            process.leave(swarm, w1).inject()
    assert not w1.docker.info()["Swarm"]["ControlAvailable"]
    before = swarm.member(w1).id
    with process.leave(swarm, w1):
        assert w1.docker.info()["Swarm"]["LocalNodeState"] == "inactive"
    assert swarm.member(w1).id != before
    assert len([m for m in swarm.members() if m.name == "w1"]) == 1


def test_the_root_is_rotated_for_every_member(process: ProcessFaults, swarm: Swarm) -> None:
    def root() -> Any:
        return swarm.ask(lambda api: api.api.inspect_swarm())["TLSInfo"]["TrustRoot"]

    before = root()
    with process.rotate_root(swarm):
        pass
    assert root() != before
    trusted = {n["Description"]["TLSInfo"]["TrustRoot"] for n in swarm.leader.docker.api.nodes()}
    assert trusted == {root()}


def test_dockerd_ends_by_a_signal_and_starts_with_other_flags(
    process: ProcessFaults, swarm: Swarm, w1: Node
) -> None:
    old = w1.dockerd.pid
    with process.signal_dockerd(w1, "ABRT"):
        assert has_ended(old)
    with process.restart_dockerd(w1, ["--debug"]):
        assert "--debug" in command_of(w1.dockerd.pid)
        assert w1.docker.info()["Debug"]
    assert "--debug" not in command_of(w1.dockerd.pid)
    ready(swarm, w1)


def test_another_engine_takes_over_the_same_state_and_gives_it_back(
    process: ProcessFaults, swarm: Swarm, w1: Node, open_trial: Trial
) -> None:
    newest = provide(resolve("newest"), Cache(), say=print)
    before = swarm.member(w1).id
    with process.change_engine(w1, newest):
        assert w1.docker.version()["Version"].startswith(newest.version.partition("-")[0])
        ready(swarm, w1)
        assert swarm.member(w1).id == before, "it is the same member"
    assert w1.docker.version()["Version"].startswith("26.1.5")
    ready(swarm, w1)
    told = [e["proof"] for e in read_lines(open_trial.folder / "journal.jsonl") if "proof" in e]
    assert "reports version 28" in told[0]
    assert "reports version 26" in told[1]


def test_a_paused_node_can_die_and_comes_back_unpaused(
    process: ProcessFaults, swarm: Swarm, w1: Node
) -> None:
    with process.pause_node(w1):
        w1.kill()
    assert w1.dockerd.ping()
    ready(swarm, w1)
