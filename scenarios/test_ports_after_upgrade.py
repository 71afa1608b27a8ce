"""Whether every node serves published ports after its engine was upgraded, managers too.

The operator's ports vanished after upgrades, and publishing them in host mode was the cure. So two
services run on every node, one published as the lab can (by the routing mesh), one in host mode,
and every node's port is asked while node after node gets the next engine over the same state. What
must not be is a node that is back and fails while others serve. Another cure, a reboot, is tried on
a node that has lost the rules of its ports.
"""

from __future__ import annotations

import time

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.probes.published_ports import nodes_not_listening
from harness.probes.reachability import Reachability
from harness.swarm import APP_IMAGE, APP_PORT, Service, Swarm, Workload
from harness.trial import Expectation, Measures
from harness.wait import Elapsed

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("moby/moby#33430", "moby/moby#33893", "moby/moby#36003"),
]

MESH, HOST = 8080, 8081

A_BOOT = (
    "the node boots, dockerd starts and migrates what it finds, its agent opens a session with a "
    "back-off of up to 8 s, two tasks start"
)

BACK = Expectation(
    "slowest time until a node serves both ports again",
    unit="s",
    at_most=90,
    source=A_BOOT,
    control="test_control_ports_filtered",
)
EVERYWHERE = Expectation(
    "time until every node serves both ports in the end",
    unit="s",
    at_most=30,
    source="all nodes are back: what is asked is asked again within a second",
    control="test_control_ports_filtered",
)
NOT_LISTENING = Expectation(
    "nodes whose {mode} port nobody holds in the end",
    unit="nodes",
    exactly=0,
    source="moby#33430: dockerd itself listens on each published port of its node",
    no_control="no fault closes a listener of dockerd; ports that nobody has are not listed",
)
CURED = Expectation(
    "time until a node that lost its firewall rules serves both ports after a reboot",
    unit="s",
    at_most=90,
    source=A_BOOT,
    control="test_control_ports_filtered",
)


@pytest.mark.deadline(1800)
@pytest.mark.other_engines("next")
def test_every_node_upgraded(
    swarm: Swarm,
    faults: Faults,
    reachability: Reachability,
    other_engines: tuple[str, ...],
    measure: Measures,
) -> None:
    """Node after node, the manager first, gets the next engine and serves both ports again."""
    web, [engine] = swarm.deploy(on_every_node()), other_engines
    beside = swarm.deploy(host_mode())
    with reachability.watch(web, beside):
        times = [
            time_to_upgrade(node, engine, faults, reachability)
            for node in [*swarm.managers, *swarm.workers]
        ]
        measure(BACK, slowest(times), note=", ".join(f"{each.seconds:.1f}" for each in times))
        measure(EVERYWHERE, reachability.time_to_converged(within=EVERYWHERE.limit))
        for mode, port in (("ingress", MESH), ("host-mode", HOST)):
            lost = nodes_not_listening(swarm.all_but(), port)
            measure(NOT_LISTENING, len(lost), note=", ".join(lost), mode=mode)


@pytest.mark.thorough
def test_reboot_brings_ports_back(
    swarm: Swarm, faults: Faults, reachability: Reachability, measure: Measures
) -> None:
    """A node that has lost the rules of its ports serves them again after a reboot."""
    web, beside = swarm.deploy(on_every_node()), swarm.deploy(host_mode())
    worker = swarm.a_worker()
    with reachability.watch(web, beside), faults.network.lose_firewall_rules(worker) as lost_rules:
        lost_rules.hold(5.0)
        worker.kill()
        worker.start()
        since = time.monotonic()
        back = reachability.time_to_converged(since=since, within=CURED.limit, nodes=[worker])
        measure(CURED, back)


@pytest.mark.control
def test_control_ports_filtered(
    swarm: Swarm, faults: Faults, reachability: Reachability, measure: Measures
) -> None:
    """A worker whose ports are filtered on the way does not serve them, and it is seen."""
    web, beside = swarm.deploy(on_every_node()), swarm.deploy(host_mode())
    worker = swarm.a_worker()
    with (
        reachability.watch(web, beside),
        faults.network.cut(worker, plane=f"{MESH}/tcp"),
        faults.network.cut(worker, plane=f"{HOST}/tcp") as cut,
    ):
        never = reachability.time_to_converged(since=cut, within=BACK.limit)
        measure(BACK, never)
        measure(CURED, never)
        measure(EVERYWHERE, never)


def on_every_node() -> Workload:
    """Return a service on every node, published as the lab can."""
    app = Service("app", APP_IMAGE, ("web",), replicas=None, port=APP_PORT, published=MESH)
    return Workload("web", ("web",), (app,), entry="app")


def host_mode() -> Workload:
    """Return a service on every node, published in host mode: the operator's cure."""
    beside = Service(
        "beside",
        APP_IMAGE,
        (),
        replicas=None,
        port=APP_PORT,
        published=HOST,
        publish_mode="host",
    )
    return Workload("beside", (), (beside,), entry="beside")


def time_to_upgrade(node: Node, engine: str, faults: Faults, reachability: Reachability) -> Elapsed:
    """Change a node's engine for good; return how long until it serves both ports again."""
    since = time.monotonic()
    faults.process.change_engine(node, engine).inject().settle()
    return reachability.time_to_converged(since=since, within=BACK.limit, nodes=[node])


def slowest(times: list[Elapsed]) -> Elapsed:
    """Return the longest time; one that did not come to its end, if there is such."""
    return max(times, key=lambda each: (not each.reached, each.seconds))
