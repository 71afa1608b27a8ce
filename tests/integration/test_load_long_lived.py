"""Datagrams, connections that live long, and a look on the wire, on real nodes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from lab_builds import LabOf
from optionals import not_none

from harness.lab import NamespacesLab, Node
from harness.load import ECHO_PORT, Datagrams, LongConnections, echo_service
from harness.probes.sampling.vantage_containers import VantageContainers
from harness.probes.wire import Wire
from harness.swarm import Deployment, Port, Swarm, Workload
from harness.trial import Trial

pytestmark = pytest.mark.integration

PORT = 9007


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(1, 1) as lab:
        yield lab


@pytest.fixture(scope="module")
def web(lab: NamespacesLab) -> Deployment:
    """One echo task on the worker, published by the node."""
    ports = tuple(Port(ECHO_PORT, PORT, protocol, "host") for protocol in ("udp", "tcp"))
    echo = echo_service(networks=("web",), role="worker", ports=ports)
    return Swarm.form(lab, seed=1).deploy(Workload("web", ("web",), (echo,)))


@pytest.fixture
def worker(lab: NamespacesLab) -> Node:
    return lab.node("w1")


@pytest.fixture
def via(lab: NamespacesLab) -> Callable[[Callable[[], socket.socket]], socket.socket]:
    return lab.client_host("client").network.call


def test_a_flow_and_connections_through_an_update(
    web: Deployment, worker: Node, via: Callable[..., socket.socket], open_trial: Trial
) -> None:
    at = (worker.address, PORT)
    with (
        Datagrams(via, at, open_trial, every=0.1, source_port=40009) as flow,
        LongConnections(via, at, open_trial, users=2, every=0.1) as users,
    ):
        assert flow.time_to_answer(within=10.0).reached
        assert users.time_to_all_answered(within=10.0).reached
        web.redeploy("echo")
        assert web.time_to_updated("echo", within=60.0).reached
        assert flow.time_to_answer(within=10.0).reached
        assert users.time_to_all_answered(within=10.0).reached
    assert len(flow.tasks) == 2
    assert 0 < not_none(flow.longest_gap()).seconds < 20
    assert users.ended["closed"] + users.ended["reset"] >= 2
    assert users.ended["silent"] == 0


def test_what_is_not_encrypted_is_read_on_the_wire(
    web: Deployment, lab: NamespacesLab, open_trial: Trial
) -> None:
    """An overlay network that is not encrypted can be read by whoever is in the middle."""
    address = address_of(web, lab.node("w1"))
    vantage_points = VantageContainers([lab.node("m1")], web.networks)
    vantage_points.start()
    try:
        [vantage] = vantage_points.there()

        with (
            Wire(lab, open_trial, marker=b"ping\n") as wire,
            LongConnections(
                vantage.namespace.run, (address, ECHO_PORT), open_trial, users=1
            ) as users,
        ):
            assert users.time_to_all_answered(within=15.0).reached
    finally:
        vantage_points.close()
    assert wire.readable >= 1
    assert wire.count("vxlan") >= 2
    assert wire.count("esp") == 0


def address_of(web: Deployment, node: Node) -> str:
    """Return the address that the running task has in the network."""
    [task] = [task for task in web.tasks("echo") if task.running]
    [container] = node.docker.containers.list(
        filters={"label": f"com.docker.swarm.task.id={task.id}"}
    )
    return str(container.attrs["NetworkSettings"]["Networks"]["web"]["IPAddress"])
