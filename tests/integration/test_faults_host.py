"""Faults of hosts on real nodes: crashes, reboots, old disks, other addresses, clones, a unit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from lab_builds import LabOf

from harness.errors import FaultError
from harness.faults import Faults
from harness.faults.host import HostFaults
from harness.lab import NamespacesLab, Node
from harness.swarm import APP_IMAGE, Service, Swarm, Workload
from harness.trial import Trial
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(1, 1, 1) as lab:
        yield lab


@pytest.fixture(scope="module")
def swarm(lab: NamespacesLab) -> Swarm:
    return Swarm.form(lab, seed=1)


@pytest.fixture
def w1(lab: NamespacesLab, swarm: Swarm) -> Node:
    swarm.wait_for_ready([lab.node("w1")])
    return lab.node("w1")


@pytest.fixture
def host(open_trial: Trial) -> HostFaults:
    return Faults(open_trial).host


def test_a_crashed_dockerd_is_started_again_until_its_unit_gives_up(
    host: HostFaults, w1: Node, swarm: Swarm
) -> None:
    before = w1.dockerd.pid
    with host.crash_dockerd(w1) as crashed:
        assert (w1.dockerd.pid != before, crashed.gave_up) == (True, False)
        swarm.wait_for_ready([w1])
    with host.crash_dockerd(w1, times=4) as loop:
        assert (w1.dockerd.alive, loop.gave_up) == (False, True)
    assert w1.dockerd.ping()


def test_a_host_that_is_shut_down_stops_its_tasks_first(
    host: HostFaults, w1: Node, swarm: Swarm
) -> None:
    app = Service("app", APP_IMAGE, role="worker")
    made = swarm.deploy(Workload("app", (), (app,)))
    with host.shut_down(w1, timeout=60.0) as off:
        assert (w1.up, off.killed) == (False, False)
    made.wait_running(60)
    with host.reboot(w1, off=1.0) as rebooted:
        assert not rebooted.killed
        made.wait_running(60)
    made.remove("app")


def test_an_old_disk_is_the_one_that_was_kept(host: HostFaults, w1: Node, swarm: Swarm) -> None:
    with pytest.raises(FaultError, match="no state of w1 was kept"):
        host.roll_back(w1).inject()
    host.keep_disk(w1)
    app = Service("app", APP_IMAGE, role="worker", replicas=2)
    made = swarm.deploy(Workload("app", (), (app,)))
    with host.roll_back(w1):
        swarm.wait_for_ready([w1])
        made.wait_running(60)
    made.wait_running(60)


def test_a_dockerd_that_dies_unasked_is_started_by_its_unit(host: HostFaults, w1: Node) -> None:
    before = w1.dockerd.pid
    with host.supervise([w1]) as unit:
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: unit.restarts() == 1 or NotYet("none"), state="a restart", within=30)
        w1.dockerd.wait_ready()
    assert w1.dockerd.pid != before
    assert len(w1.dockerd_ends.unasked) == 1
    assert unit.failed == []


def test_a_host_comes_back_with_another_address_and_then_its_own(
    host: HostFaults, w1: Node, swarm: Swarm
) -> None:
    before = w1.address
    with host.readdress(w1) as moved:
        assert w1.address == moved.address != before
        assert "eth0" in w1.run(["ip", "-o", "address", "show", "to", moved.address]).text
    assert w1.address == before


def test_a_clone_has_the_identity_of_another_node(
    host: HostFaults, lab: NamespacesLab, w1: Node, swarm: Swarm
) -> None:
    spare = lab.node("s1")
    with pytest.raises(FaultError, match="w1 cannot be a clone of itself"):
        host.clone(w1, "w1").inject()
    with pytest.raises(FaultError, match="no state of m1 was kept"):
        host.clone(spare, "m1").inject()
    host.keep_disk(w1)
    with host.clone(spare, "w1"):
        identity = w1.docker.info()["Swarm"]["NodeID"]
        assert spare.docker.info()["Swarm"]["NodeID"] == identity != ""
    assert spare.docker.info()["Swarm"]["NodeID"] == ""


def test_a_network_that_comes_after_dockerd(host: HostFaults, w1: Node, swarm: Swarm) -> None:
    with host.supervise([w1]), host.start_before_network(w1, late=3.0):
        w1.dockerd.wait_ready()
    swarm.wait_for_ready([w1])
