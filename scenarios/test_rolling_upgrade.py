"""What it costs to take a loaded swarm from one engine to the next, node by node, and back.

Each node is drained, shut down, and comes back with the other engine over the same state; when it
is ready it is made active again, and the next one is upgraded. Docker's order is managers first,
the leader last of them, then workers. The workload is on the workers, so managers have nothing to
drain, and on each of them, so no drain takes all of it; requests that enter by the node that is
being upgraded do not count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import pytest

from harness.engine import same_release
from harness.faults import Faults
from harness.lab import Node
from harness.load import Load, Traffic
from harness.swarm import Deployment, NoAnswer, Swarm, SwarmClient, balanced_web
from harness.trial import Expectation, Measures, Trial
from harness.wait import Elapsed, NotYet, time_until

WEB = balanced_web(role="worker")
#: One task of each service on each worker.
ON_EVERY_WORKER = replace(
    WEB, services=tuple(replace(each, replicas=None) for each in WEB.services)
)

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2, serving=ON_EVERY_WORKER),
    pytest.mark.other_engines("next"),
    pytest.mark.upstream("moby/moby#32385", "moby/swarmkit#2126", "moby/moby#36003"),
]

SETTLED = 5.0  # seconds until gossip and IPVS know the tasks that moved

LOST = Expectation(
    "share of requests lost at other nodes",
    unit="1",
    at_most=0.02,
    source="moby: a drained task is out of names and ports 2 s before it is stopped, and another "
    "one runs; a drained balancer breaks one connection for each user that it serves",
    control="test_control_both_drained",
)
DRAIN = Expectation(
    "slowest drain",
    unit="s",
    at_most=60,
    source="moby: 2 s for gossip, then the service's grace of 3 s; on a slow machine",
    control="test_control_node_cut_off",
)
READY = Expectation(
    "slowest change of engine until ready",
    unit="s",
    at_most=90,
    source="dockerd stops in order, the other one starts and migrates what it finds; swarmkit's "
    "agent opens its session with a back-off of up to 8 s",
    control="test_control_node_cut_off",
)
WRITE = Expectation(
    "slowest change of engine until a write",
    unit="s",
    at_most=60,
    source="swarmkit: the others campaign after 10 to 20 ticks of 1 s, or a second round",
    no_control="one node at a time leaves a majority, whatever becomes of it; test_quorum_lost.py "
    "has the control of the same wait",
)
BALANCER = Expectation(
    "slowest return of a balancer",
    unit="s",
    at_most=60,
    source="swarmkit: a global service runs on a node as soon as it is active",
    control="test_control_node_cut_off",
)
NOT_UPGRADED = Expectation(
    "nodes without the engine they should have",
    unit="nodes",
    exactly=0,
    source="each node was upgraded",
    control="test_control_both_drained",
)
INCOMPLETE = Expectation(
    "services that are not complete in the end",
    unit="services",
    exactly=0,
    source="what was asked for before is asked for still",
    control="test_control_node_cut_off",
)

STEPS = (DRAIN, READY, WRITE, BALANCER)


@dataclass
class Upgrade:
    """One node's upgrade: from when to when, in trial seconds, and how long each step took."""

    node: str
    began: float
    ended: float
    steps: dict[Expectation, Elapsed]


@pytest.mark.deadline(1800)
@pytest.mark.parametrize(
    ("order", "again"),
    [
        pytest.param("managers first", False, id="managers-first"),
        pytest.param("workers first", False, id="workers-first", marks=pytest.mark.thorough),
        pytest.param("managers first", True, id="and-back", marks=pytest.mark.thorough),
    ],
)
def test_rolling_upgrade(
    order: str,
    again: bool,
    swarm: Swarm,
    load: Load,
    faults: Faults,
    other_engines: tuple[str, ...],
    trial: Trial,
    measure: Measures,
) -> None:
    """Node by node to the next engine: requests at the others are served, the API is there."""
    web = swarm.serving
    [engine], former = other_engines, swarm.leader.engine.version
    with load.http(web, users=4, connections="kept") as traffic:
        upgrades = upgrade_all(swarm, web, order, engine, faults, trial)
        if again:
            upgrades += upgrade_all(swarm, web, order, former, faults, trial)
        swarm.observe(SETTLED, "gossip and IPVS hear of the tasks that moved")
    lost, asked = lost_elsewhere(traffic, upgrades)
    measure(LOST, lost / asked if asked else None, note=f"{lost} of {asked}")
    for step in STEPS:
        times = [each.steps[step] for each in upgrades]
        measure(step, slowest(times), note=listed(times))
    others = nodes_without(swarm, former if again else engine)
    measure(NOT_UPGRADED, len(others), note=", ".join(others))
    measure(INCOMPLETE, sum(web.running(service) is not True for service in web.services))


@pytest.mark.control
def test_control_both_drained(
    swarm: Swarm,
    load: Load,
    faults: Faults,
    other_engines: tuple[str, ...],
    trial: Trial,
    measure: Measures,
) -> None:
    """Both workers drained at once and one upgraded: requests are lost, and it is seen."""
    web = swarm.serving
    [engine] = other_engines
    one, other = swarm.workers
    with load.http(web, users=4, connections="kept") as traffic:
        swarm.set_availability(other, "drain")
        upgraded = upgrade(swarm, web, one, engine, faults, trial)
        swarm.set_availability(other, "active")
        swarm.observe(SETTLED, "gossip and IPVS hear of the tasks that moved")
    lost, asked = lost_elsewhere(traffic, [upgraded])
    measure(LOST, lost / asked if asked else None, note=f"{lost} of {asked}")
    others = nodes_without(swarm, engine)
    measure(NOT_UPGRADED, len(others), note=", ".join(others))


@pytest.mark.control
@pytest.mark.deadline(1800)
def test_control_node_cut_off(
    swarm: Swarm,
    faults: Faults,
    other_engines: tuple[str, ...],
    trial: Trial,
    measure: Measures,
) -> None:
    """A worker cut off from the managers is not drained, not ready, and has no balancer."""
    web, worker = swarm.serving, swarm.a_worker()
    [engine] = other_engines
    with faults.network.isolate(worker, plane="control"):
        upgraded = upgrade(swarm, web, worker, engine, faults, trial)
        measure(INCOMPLETE, sum(web.running(service) is not True for service in web.services))
    for step in (DRAIN, READY, BALANCER):
        measure(step, upgraded.steps[step])


def upgrade_all(
    swarm: Swarm, web: Deployment, order: str, engine: str, faults: Faults, trial: Trial
) -> list[Upgrade]:
    """Upgrade node after node, the leader last of the managers."""
    managers = [*swarm.followers, swarm.leader]
    workers = swarm.workers
    nodes = managers + workers if order == "managers first" else workers + managers
    return [upgrade(swarm, web, node, engine, faults, trial) for node in nodes]


def upgrade(
    swarm: Swarm, web: Deployment, node: Node, engine: str, faults: Faults, trial: Trial
) -> Upgrade:
    """One node: drained, its engine changed for good, ready, active again."""
    began, steps = trial.clock.now(), {}
    swarm.set_availability(node, "drain")
    steps[DRAIN] = time_until(
        lambda: drained(web, node),
        state=f"{node.name} to be drained",
        within=DRAIN.limit,
        every=0.5,
    )
    changing = time.monotonic()
    faults.process.change_engine(node, engine).inject().settle()
    steps[READY] = time_until(
        lambda: ready_with(swarm, node, engine),
        state=f"{node.name} to be ready with engine {engine}",
        within=READY.limit,
        every=0.5,
        since=changing,
    )
    steps[WRITE] = swarm.time_to_write(since=changing, within=WRITE.limit)
    swarm.set_availability(node, "active")
    steps[BALANCER] = web.time_to_running("balancer", within=BALANCER.limit)
    return Upgrade(node.name, began, trial.clock.now(), steps)


def drained(web: Deployment, node: Node) -> NotYet | bool:
    """Whether no task of the workload runs, or is about to end, on a node."""
    over = {"shutdown", "complete", "failed", "rejected", "remove", "orphaned"}
    left = [task for task in web.tasks() if task.node == node.name and task.state not in over]
    return NotYet(f"{len(left)} tasks are on {node.name}") if left else True


def ready_with(swarm: SwarmClient, node: Node, engine: str) -> NotYet | bool:
    """Whether the swarm lists a node as ready, and with this engine."""
    try:
        member = swarm.member(node)
    except NoAnswer as error:
        return NotYet(error.what)
    if not same_release(member.engine, engine):
        return NotYet(f"{node.name} is still listed with engine {member.engine}")
    if member.role == "manager" and member.reachability != "reachable":
        return NotYet(f"{node.name} is {member.reachability}")
    return member.state == "ready" or NotYet(f"{node.name} is {member.state}")


def lost_elsewhere(traffic: Traffic, upgrades: list[Upgrade]) -> tuple[int, int]:
    """Requests lost, and all, of those that entered by nodes that were not being upgraded."""
    asked = [
        request
        for request in traffic.requests
        if not any(
            upgrade.node == request.entry and upgrade.began <= request.t <= upgrade.ended + SETTLED
            for upgrade in upgrades
        )
        and request.outcome != "client"
    ]
    return sum(request.outcome != "ok" for request in asked), len(asked)


def slowest(times: list[Elapsed]) -> Elapsed:
    """The longest time; one that did not come to its end, if there is such."""
    return max(times, key=lambda each: (not each.reached, each.seconds))


def listed(times: list[Elapsed]) -> str:
    """All times, in words."""
    return ", ".join(f"{each.seconds:.1f}" for each in times) + " s"


def nodes_without(swarm: Swarm, engine: str) -> list[str]:
    """The nodes that are listed with another engine, in words."""
    return [
        f"{member.name} has {member.engine}"
        for member in swarm.members()
        if not same_release(member.engine, engine)
    ]
