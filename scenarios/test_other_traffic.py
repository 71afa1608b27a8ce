"""Traffic that is not short HTTP requests: datagrams, connections that live long, large replies.

A load balancer treats each of them unlike a request: a flow of datagrams never ends for it, a
connection outlives what it was balanced by, a large reply needs full-sized packets on every way.
Each worker has one task. In host mode, which needs no IPVS, a worker's clients have that task and
no other; by the routing mesh, IPVS gives each flow to one of both.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.load import ECHO_PORT, Datagrams, Load, LongConnections, echo_service
from harness.swarm import Port, Service, Swarm, UpdateConfig, Workload, balanced_web
from harness.trial import Expectation, Measures, Observation, Trial
from harness.wait import Elapsed

pytestmark = [pytest.mark.swarm(managers=1, workers=2), pytest.mark.thorough]

PORT = 9007
SOURCE_PORT = 40009
PATIENCE = 5.0
UPDATED_WITHIN = 90.0

Mode = Literal["host", "ingress"]

#: How a port is published; the routing mesh needs IPVS.
MODES: list[Any] = ["host", pytest.param("ingress", marks=pytest.mark.needs("ip_vs"))]

#: Bytes of a reply: some hundred full-sized packets.
LARGE = 256 << 10

GAP = Expectation(
    "longest gap of a flow of datagrams whose task is replaced",
    unit="s",
    at_most=20,
    source="moby: the task is out for 2 s, is stopped at once, the next one starts in its place "
    "when that has ended: some seconds on a slow machine; with it, conntrack's entry is deleted, "
    "and by the mesh IPVS forgets a flow whose task is gone with its next datagram "
    "(net.ipv4.vs.expire_nodest_conn)",
    control="test_control_datagrams_unanswered",
)
ANSWERED = Expectation(
    "time until a flow that began before its service is answered",
    unit="s",
    at_most=5,
    source="moby: publishing a port over UDP has conntrack forget the flows to it; what remembers "
    "nothing sends the next datagram to a task",
    control="test_control_datagrams_unanswered",
)
SILENT = Expectation(
    "connections that fell silent",
    unit="connections",
    exactly=0,
    source="a task that is told to stop closes its connections; swarm takes its network away after "
    "that, so every client is told",
    control="test_control_node_killed",
)
CONNECTED = Expectation(
    "time until every user has a connection again",
    unit="s",
    at_most=PATIENCE,
    source="the update is over: a task runs wherever clients enter, and they try again every 0.5 s",
    control="test_control_node_killed",
)
CLOSED = Observation("connections that were closed by an update", unit="connections")
LOST_LARGE = Expectation(
    "share of large replies lost through an update",
    unit="1",
    at_most=0.05,
    source="nginx asks another task when one refuses; what is cut off under way is lost: at most "
    "one reply a user for each of two updates, of some forty",
    control="test_control_mtu_black_hole",
)
LARGE_TAKES = Observation("median time of a large reply", unit="s")


@pytest.mark.upstream("moby/moby#36878", "moby/moby#35135")
@pytest.mark.parametrize("mode", MODES)
def test_datagrams_through_an_update(
    mode: Mode, swarm: Swarm, trial: Trial, measure: Measures
) -> None:
    """A client that keeps its source port is answered by a live task soon after each update."""
    web, worker = swarm.deploy(echoing(mode)), swarm.a_worker()
    with datagrams(swarm, worker, trial) as flow:
        flow.time_to_answer(within=10.0)
        web.redeploy("echo")
        web.time_to_updated("echo", within=UPDATED_WITHIN)
        flow.time_to_answer(within=10.0)
    measure(GAP, flow.longest_gap())


@pytest.mark.upstream("distribution/distribution#3157")
def test_datagrams_before_their_service(swarm: Swarm, trial: Trial, measure: Measures) -> None:
    """A client that sent before there was a service is answered once there is one."""
    with datagrams(swarm, swarm.a_worker(), trial) as flow:
        swarm.observe(3.0, "nothing is published yet")
        swarm.deploy(echoing())
        measure(ANSWERED, flow.time_to_answer(within=30.0))


def test_connections_through_an_update(swarm: Swarm, trial: Trial, measure: Measures) -> None:
    """Every connection to a task that is replaced is ended in words, and made again."""
    web, worker = swarm.deploy(echoing()), swarm.a_worker()
    with connections(swarm, worker, trial) as users:
        users.time_to_all_answered(within=10.0)
        web.redeploy("echo")
        web.time_to_updated("echo", within=UPDATED_WITHIN)
        measure(CONNECTED, users.time_to_all_answered(within=CONNECTED.limit))
        measure(SILENT, users.ended["silent"])
        measure(CLOSED, users.ended["closed"] + users.ended["reset"])


def test_large_replies_through_an_update(swarm: Swarm, load: Load, measure: Measures) -> None:
    """Replies of many full-sized packets come whole, by the published port and the app's name."""
    web = swarm.deploy(balanced_web())
    with load.http(web, per_user=0.5, path=f"/?bytes={LARGE}") as traffic:
        for _ in range(2):
            web.redeploy("app")
            web.time_to_updated("app", within=UPDATED_WITHIN)
    measure(LOST_LARGE, traffic.share_lost)
    measure(LARGE_TAKES, traffic.p50)


@pytest.mark.control
def test_control_datagrams_unanswered(
    swarm: Swarm, trial: Trial, faults: Faults, measure: Measures
) -> None:
    """What a node does not hear is not answered, and the flow's gap says so."""
    swarm.deploy(echoing())
    worker = swarm.a_worker()
    with datagrams(swarm, worker, trial) as flow:
        flow.time_to_answer(within=10.0)
        with faults.network.isolate(worker) as cut:
            measure(ANSWERED, flow.time_to_answer(within=ANSWERED.limit, since=cut))
            cut.hold(GAP.limit + 5.0)
    measure(GAP, flow.longest_gap())


@pytest.mark.control
def test_control_node_killed(swarm: Swarm, trial: Trial, faults: Faults, measure: Measures) -> None:
    """A node that dies tells nobody: connections to it fall silent, and none can be made."""
    swarm.deploy(echoing())
    worker = swarm.a_worker()
    with connections(swarm, worker, trial) as users:
        users.time_to_all_answered(within=10.0)
        with faults.kill_node(worker) as outage:
            outage.hold(PATIENCE + 2.0)
            measure(CONNECTED, not_connected(users))
        measure(SILENT, users.ended["silent"])


@pytest.mark.control
def test_control_mtu_black_hole(
    swarm: Swarm, load: Load, faults: Faults, measure: Measures
) -> None:
    """Full-sized packets of the overlay network vanish at a node; small ones pass."""
    web = swarm.deploy(balanced_web())
    with (
        faults.network.mtu_black_hole(swarm.a_worker(), plane="data", size=1000) as hole,
        load.http(web, per_user=0.5, path=f"/?bytes={LARGE}") as traffic,
    ):
        hole.hold(20.0)
    measure(LOST_LARGE, traffic.share_lost)


def echoing(mode: Mode = "host") -> Workload:
    """Return the echo service with a task on each worker, published over UDP and TCP."""
    ports = tuple(Port(ECHO_PORT, PORT, protocol, mode) for protocol in ("udp", "tcp"))
    echo: Service = echo_service(
        networks=("web",),
        replicas=None,
        role="worker",
        ports=ports,
        update=UpdateConfig(parallelism=1, monitor=1.0),
    )
    return Workload("web", ("web",), (echo,))


def datagrams(swarm: Swarm, node: Node, trial: Trial) -> Datagrams:
    """Return a client that sends to a node's published port, always from the same port."""
    via = swarm.lab.client_host("datagrams").network.call
    return Datagrams(via, (node.address, PORT), trial, source_port=SOURCE_PORT)


def connections(swarm: Swarm, node: Node, trial: Trial) -> LongConnections:
    """Return users that each keep a connection to a node's published port."""
    via = swarm.lab.client_host("connections").network.call
    return LongConnections(via, (node.address, PORT), trial, patience=PATIENCE)


def not_connected(users: LongConnections) -> Elapsed:
    """Return how long it takes until every user is connected, which none can be."""
    return users.time_to_all_answered(within=CONNECTED.limit)
