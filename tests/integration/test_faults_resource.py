"""Faults of resources on a real node: each effect measured from outside, and its heal too."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_builds import LabOf

from harness.errors import FaultError
from harness.faults import Faults
from harness.faults.kill import NodeKilled
from harness.faults.resource import ResourceFaults
from harness.faults.resource.controllers import controller
from harness.lab import NamespacesLab, Node
from harness.lab.dockerd import NAMESPACES
from harness.lab.nsenter import complete, entering, joining
from harness.swarm import Swarm
from harness.trial import Trial
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

MIB = 1 << 20
SWARM = "/var/lib/docker/swarm"


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(1) as lab:
        yield lab


@pytest.fixture(scope="module")
def swarm(lab: NamespacesLab) -> Swarm:
    return Swarm.form(lab, seed=1)


@pytest.fixture
def m1(lab: NamespacesLab, swarm: Swarm) -> Node:
    return lab.node("m1")


@pytest.fixture
def resource(open_trial: Trial) -> ResourceFaults:
    return Faults(open_trial).resource


def among(node: Node, *argv: str) -> Any:
    """Run a program as one of the node's own processes, in its cgroups."""
    entered = entering(node.here.pid, NAMESPACES, argv)
    started = time.monotonic()
    done = complete(
        joining(node.here.groups.leaves(), entered), shown=argv, where=node.name, timeout=60
    )
    return done, time.monotonic() - started


def cpu_time(node: Node, script: Any) -> Any:
    """CPU seconds by seconds of time that a busy program of the node's gets in half a second.

    Or in more: with little CPU `sleep` itself takes long to start and end.
    """
    busy = (
        f"{script} & pid=$!; read began _ </proc/uptime; sleep 0.5; "
        "read spent </proc/$pid/stat; read ended _ </proc/uptime; kill -9 $pid; "
        'echo "$began $ended $spent"'
    )
    done, _ = among(node, "sh", "-c", busy)
    times, _, spent = done.text.rpartition(") ")
    began, ended = map(float, times.split()[:2])
    ticks = sum(map(int, spent.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK") / (ended - began)


def test_a_node_gets_a_share_of_a_cpu_and_no_more(resource: ResourceFaults, m1: Node) -> None:
    busy = "while :; do :; done"
    with resource.limit_cpu(m1, 0.1):
        assert cpu_time(m1, busy) < 0.25
    cpu = controller(m1, "cpu")
    before = cpu.counter("cpu.stat", "nr_throttled")
    cpu_time(m1, busy)
    assert cpu.counter("cpu.stat", "nr_throttled") == before


def test_a_hog_runs_on_the_node_and_is_gone_after(resource: ResourceFaults, m1: Node) -> None:
    def busy() -> Any:
        return m1.run(["sh", "-c", "grep -ls '[w]hile :' /proc/[0-9]*/cmdline || true"]).text

    with resource.hog_cpu(m1, processes=3, weight=4):
        assert len(busy().split()) >= 3
    assert busy() == ""


def test_a_node_with_little_memory_has_its_own_killed_and_no_other(
    resource: ResourceFaults, m1: Node
) -> None:
    grab = "head -c 256M /dev/zero | tail"  # holds all that it reads
    with resource.limit_memory(m1, 160 * MIB):
        done, _ = among(m1, "sh", "-c", f"{grab} >/dev/null; exit ${{PIPESTATUS:-$?}}")
        assert done.code in (137, 1), "the kernel killed it"
    done, _ = among(m1, "sh", "-c", f"{grab} >/dev/null")
    assert done.code == 0, "without the limit it ends well"


def test_memory_is_held_and_let_go(resource: ResourceFaults, m1: Node) -> None:
    held = Path(f"/proc/{m1.here.pid}/root/dev/shm")
    with resource.hold_memory(m1, 64 * MIB):
        assert sum(each.stat().st_blocks * 512 for each in held.iterdir()) == 64 * MIB
    assert list(held.iterdir()) == []


def test_a_dockerd_without_room_is_killed_by_the_kernel_and_started_again(
    resource: ResourceFaults, m1: Node
) -> None:
    def grown() -> Any:
        try:
            m1.docker.containers.list()
            m1.docker.info()
        except Exception as error:
            return str(error)  # the SDK has a kind of its own for each
        return m1.dockerd.alive is False or NotYet("dockerd lives")

    with resource.limit_dockerd_memory(m1, MIB) as limited:
        wait_for(grown, state="dockerd to need more than it may", within=30, every=0.01)
        wait_for(lambda: not m1.dockerd.alive or NotYet("it runs"), state="its end", within=10)
        assert limited.killed >= 1
    assert m1.dockerd.ping()
    assert m1.docker.info()["Swarm"]["LocalNodeState"] == "active"


def test_a_limit_of_dockerd_goes_although_its_node_is_off(
    resource: ResourceFaults, m1: Node
) -> None:
    limited = resource.limit_dockerd_memory(m1, 64 * MIB).inject()
    off = NodeKilled(limited.trial, m1).inject()
    limited.heal()
    assert not m1.up, "that is left to the fault that has switched it off"
    off.heal()
    assert m1.dockerd.ping()


def test_without_descriptors_no_call_is_taken(resource: ResourceFaults, m1: Node) -> None:
    with resource.exhaust_descriptors(m1) as exhausted:
        assert not m1.dockerd.ping(timeout=0.5)
        assert (
            f"Max open files            {exhausted.limit} "
            in Path(f"/proc/{exhausted.pid}/limits").read_text()
        )
    assert m1.dockerd.ping()


def test_without_processes_nothing_forks(resource: ResourceFaults, m1: Node) -> None:
    two = ("sh", "-c", "/bin/true; /bin/true; exit 0")
    with resource.exhaust_processes(m1):
        done, _ = among(m1, *two)
        assert done.code != 0
        assert b"fork" in done.stderr
    done, _ = among(m1, *two)
    assert done.code == 0


def test_what_nodes_share_is_not_touched_here(
    resource: ResourceFaults, swarm: Swarm, m1: Node
) -> None:
    with pytest.raises(FaultError, match="share the kernel of its host"):
        resource.jump_clock(swarm, 3600.0).inject()
    with pytest.raises(FaultError, match="share the kernel of its host"):
        resource.exhaust_inotify(swarm).inject()
    with pytest.raises(FaultError, match="no disk of its own"):
        resource.fill_disk(m1).inject()


def test_a_disk_runs_full_and_slow_and_loses_what_was_not_synced(
    open_trial: Trial, resource: ResourceFaults, swarm: Swarm, m1: Node
) -> None:
    """One disk for all of it: to move a folder costs two restarts of dockerd."""
    process = Faults(open_trial).process
    inside = Path(f"/proc/{m1.here.pid}/root{SWARM}")
    with resource.own_disk(m1):
        assert (inside / "docker-state.json").exists(), "the folder came along"
        assert inside.stat().st_dev != inside.parent.stat().st_dev
        _refuses_when_full(resource, m1, inside)
        _waits_when_slow(resource, swarm, m1)
        with resource.fill_disk(m1):
            m1.dockerd.kill()
        assert m1.dockerd.ping(), "what died on a full disk is started on one with room"
        with process.cut_power(m1):
            assert not m1.up
        inside = Path(f"/proc/{m1.here.pid}/root{SWARM}")
        assert not (inside / process.cut_power(m1).MARK).exists()
        assert swarm.time_to_write(within=30).reached, "raft's log survived the power cut"
    assert m1.here.disks.of(SWARM) is None
    assert (inside / "docker-state.json").exists(), "the folder came back"
    assert not list(m1.here.dir.glob("disks/*")), "no image is left"
    assert swarm.time_to_write(within=30).reached


def _refuses_when_full(resource: ResourceFaults, node: Node, inside: Path) -> None:
    with resource.fill_disk(node):
        with pytest.raises(OSError, match="No space left") as refusal:
            (inside / "more").write_bytes(b"x" * MIB)
        assert refusal.value.errno == errno.ENOSPC
        (inside / "more").unlink()
        other = inside.parent / "more"
        other.write_bytes(b"x" * MIB)  # the rest of the node has room
        other.unlink()
    (inside / "more").write_bytes(b"x" * MIB)
    (inside / "more").unlink()


def _waits_when_slow(resource: ResourceFaults, swarm: Swarm, node: Node) -> None:
    def wrote() -> Any:
        started = time.monotonic()
        assert swarm.time_to_write(within=30).reached
        return time.monotonic() - started

    swift = wrote()
    with resource.slow_disk(node, writes=2):
        slow = wrote()
    assert slow > 0.5, "a secret and its end are two entries of raft's log, each synced"
    assert slow > 5 * swift
