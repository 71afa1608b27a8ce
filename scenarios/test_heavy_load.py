"""Whether a swarm stays one under load, and when its nodes have no CPU to spare.

A load doubles and doubles until the swarm is the limit. What it can carry, the knee, is a figure to
compare engines by; that nothing fails below it is expected, and that all is as before afterwards:
with services spread over the nodes, and with all of them on one. The load generator goes before the
swarm where they share a processor, so that it is the swarm that falls behind.

A worker gets a small share of a CPU, or shares its own with busy neighbours, while Locust's users
double twice. That requests become slow is the application's affair and only recorded. The swarm's
is that the worker is not given up: gossip does not flap, the node stays ready, and once the CPU is
back nobody gets an error. Besides, what a balancer in the kernel adds under load: the ways in
side by side, and a connection that is silent for longer than IPVS remembers it.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import Any

import pytest

from harness.faults import Fault, Faults
from harness.lab import Node
from harness.load import Load, Requests, Traffic
from harness.probes.gossip import Gossip
from harness.probes.node_states import listed_states
from harness.probes.single_requests import (
    forget_idle_connections,
    inside,
    outside,
    task_address,
    virtual_address,
)
from harness.pytest_plugin import Probes
from harness.swarm import (
    APP_IMAGE,
    APP_PORT,
    Deployment,
    Service,
    Swarm,
    Workload,
    balanced_web,
)
from harness.trial import Expectation, Measures, Observation, Readings, Trial

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("moby/moby#32841", "moby/moby#32195", "moby/moby#41232"),
]

WEB = balanced_web(replicas=4)

# Users ask once a second each; their number doubles twice.
STAGE = 10.0
RAMP = ((STAGE, 10), (STAGE, 20), (STAGE, 40))
OBSERVED = 3 * STAGE

# The share of a CPU that a starved worker has for dockerd, containerd and all of its tasks.
STARVED = 0.05

# Requests under way are answered or given up after 10 s; what comes then is served as before.
DRAINED = 10.0
AFTER = 10.0

# A dockerd that runs in every tenth of a second answers gossip in time.
FLAPS = Expectation(
    "peers that declared a node failed",
    unit="1",
    exactly=0,
    source="memberlist: 0.5 s for an answer, three more ways to ask, then 4 s of suspicion",
    control="test_control_no_cpu_at_all",
)
NOT_READY = Expectation(
    "checks that found the starved node not ready",
    unit="1",
    exactly=0,
    source="swarmkit: a node is down after 13.5 to 16.5 s without a heartbeat",
    control="test_control_no_cpu_at_all",
)
LOST_AFTER = Expectation(
    "share of requests lost once the CPU is back",
    unit="1",
    at_most=0.01,
    source="the node was never away: nothing has to be found again",
    no_control="no scenario leaves the worker starved past its heal yet",
)
LOST_WITH = Observation("share of requests lost with {users} users", unit="1")
SLOWEST = Observation("99th percentile with {users} users", unit="s")


@pytest.mark.swarm(managers=1, workers=2, serving=WEB)
@pytest.mark.parametrize("how", ["quota", pytest.param("neighbours", marks=pytest.mark.thorough)])
def test_cpu_stolen(
    how: str, swarm: Swarm, load: Load, faults: Faults, gossip: Gossip, measure: Measures
) -> None:
    """A worker with next to no CPU is slow, and a member all the same."""
    web, worker = swarm.serving, swarm.a_worker()
    with load.http(web, shape=RAMP) as traffic:
        with steal_cpu(faults, how, worker) as stolen:
            states = listed_states(swarm, worker, seconds=OBSERVED, since=stolen)
            measure(NOT_READY, sum(state != "ready" for state in states))
        swarm.observe(DRAINED + AFTER, "requests end, and more are served")
    measure(FLAPS, len(gossip.changes("failed", since=stolen, until=stolen.began + OBSERVED)))
    measure.each(requests_in(traffic, stolen))


@pytest.mark.swarm(managers=1, workers=2, serving=WEB)
@pytest.mark.control
def test_control_no_cpu_at_all(
    swarm: Swarm, load: Load, faults: Faults, gossip: Gossip, measure: Measures
) -> None:
    """A worker that stands still is given up, by gossip and by the dispatcher."""
    web, worker = swarm.serving, swarm.a_worker()
    with load.http(web, shape=RAMP) as traffic:
        with faults.process.pause_node(worker) as stolen:
            states = listed_states(swarm, worker, seconds=OBSERVED, since=stolen)
            measure(NOT_READY, sum(state != "ready" for state in states))
        swarm.observe(DRAINED + AFTER, "requests end, and more are served")
    measure(FLAPS, len(gossip.changes("failed", since=stolen, until=stolen.began + OBSERVED)))
    measure.each(requests_in(traffic, stolen))


# Requests a second in all, each rate for so many seconds. A user asks four times a second.
RATES = (20, 40, 80, 160, 320, 640, 1280, 2560)
STEP = 8.0
PER_USER = 4.0

# A swarm keeps up as long as what is due is answered, and nearly all of it within a second.
ANSWERED = 0.95
SLOW = 1.0

# Seconds until the last requests of the ramp are given up, and those that are judged afterwards.
SETTLED = 15.0

LOST_BELOW_THE_KNEE = Expectation(
    "share of requests lost below the knee",
    unit="1",
    at_most=0,
    source="a swarm that still answers what is due in time has no reason to refuse any of it",
    control="test_control_task_killed_in_the_ramp",
)
LOST_AFTER_THE_RAMP = Expectation(
    "share of requests lost after the ramp",
    unit="1",
    at_most=0,
    source="the load is lighter than that of the first step, which lost nothing",
    no_control="test_control_task_killed_in_the_ramp loses requests that the same count sees",
)
GIVEN_UP_IN_THE_RAMP = Expectation(
    "peers that declared a node failed in the ramp",
    unit="1",
    exactly=0,
    source="memberlist: 0.5 s for an answer, three more ways to ask, then 4 s of suspicion",
    no_control="test_control_no_cpu_at_all breaks the same count with every CPU taken away",
)
REPLACED_IN_THE_RAMP = Expectation(
    "tasks replaced in the ramp",
    unit="tasks",
    exactly=0,
    source="swarmkit: a task is replaced when it ends, or when its node is down",
    control="test_control_task_killed_in_the_ramp",
)
KNEE = Observation("load at the knee", unit="1/s", better="higher")
CARRIED = Observation("most requests answered in a second", unit="1/s", better="higher")
P99_AT = Observation("99th percentile at {load} requests a second", unit="s")
LOST_AT = Observation("share of requests lost at {load} requests a second", unit="1")
LOST_TO_BEYOND = Observation("share of requests lost beyond the knee: {kind}", unit="1")


@pytest.mark.parametrize(
    "placement",
    [
        pytest.param("spread", marks=pytest.mark.swarm(managers=1, workers=2, serving=WEB)),
        pytest.param("one-node", marks=pytest.mark.thorough),
    ],
)
def test_load_doubles(
    placement: str, swarm: Swarm, load: Load, probes: Probes, trial: Trial, measure: Measures
) -> None:
    """Up to the knee nothing is lost; after it all is as it was."""
    on_one = balanced_web(replicas=4, role="manager")
    web = swarm.serving if placement == "spread" else swarm.deploy(on_one)
    began, before = trial.clock.now(), {task.id for task in web.tasks()}
    with ramp(load, web) as traffic:
        knee = climb(swarm, traffic)
    measure.each(by_load(traffic, knee))
    swarm.observe(SETTLED, "the last requests of the ramp end")
    with load.http(web) as calm:
        swarm.observe(SETTLED, "a light load")
    measure(LOST_AFTER_THE_RAMP, calm.share_lost)
    measure(GIVEN_UP_IN_THE_RAMP, len(probes.gossip.changes("failed", since=began)))
    measure(REPLACED_IN_THE_RAMP, len({task.id for task in web.tasks()} - before))
    if reason := not_the_swarms(traffic, knee):
        trial.doubt(reason)


@pytest.mark.control
def test_control_task_killed_in_the_ramp(
    swarm: Swarm, load: Load, faults: Faults, measure: Measures
) -> None:
    """A task that is killed below the knee costs requests there, and is replaced."""
    web = swarm.deploy(balanced_web(replicas=1, balancers=1, role="manager"))
    before = {task.id for task in web.tasks()}
    with ramp(load, web) as traffic, faults.process.kill_task(swarm.leader, "app") as killed:
        killed.hold(STEP + 1.0)
    measure.each(by_load(traffic, 1))
    measure(REPLACED_IN_THE_RAMP, len({task.id for task in web.tasks()} - before))


MESH, HOST_MODE = 8080, 8081
REQUESTS = 100  # by each way in
LATE = 0.3  # seconds that each packet of a hindered node waits; a request takes four of them

UPDATED = Expectation(
    "time until the port in host mode is published",
    unit="s",
    at_most=90,
    source="swarmkit: three tasks, one after the other, each 2 s before the stop, the grace of 3 "
    "s, a start of up to 20 s on a slow machine, 5 s in which it is watched",
    no_control="a port that is not published answers nobody, and requests by each way are counted",
)
MEDIAN = Observation("median by {way}", unit="s")
P99 = {
    way: Expectation(
        f"99th percentile by {way}",
        unit="s",
        at_most=1,
        source="TCP: a SYN that is lost or dropped is sent again after 1 s",
        control="test_control_slow_way_in" if way == "task" else (),
        no_control="" if way == "task" else "the control delays what is sent between containers",
    )
    for way in ("mesh", "host mode", "VIP", "task")
}


@pytest.mark.thorough
@pytest.mark.needs("ip_vs")
@pytest.mark.upstream("moby/moby#30820")
def test_ways_in(swarm: Swarm, measure: Measures) -> None:
    """What a request takes by the mesh, a virtual address, a task's own, and a host-mode port."""
    measure.each(by_every_way(swarm, swarm.a_worker(), nullcontext(), times=REQUESTS))


@pytest.mark.thorough
@pytest.mark.needs("ip_vs", "netem")
@pytest.mark.control
def test_control_slow_way_in(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A node whose packets between containers are late is seen to be slow."""
    node = swarm.a_worker()
    late = faults.network.delay(node, LATE, plane="data")
    measure.each(by_every_way(swarm, node, late, times=REQUESTS // 10))


FORGOTTEN_AFTER = 5  # seconds; the kernel's own is 900

ANSWER = Expectation(
    "time to an answer after the silence",
    unit="s",
    at_most=1,
    source="a connection that is there answers at once; TCP sends again after 1 s",
    no_control="the known bug moby/moby#37822 breaks it with every engine so far",
)


@pytest.mark.thorough
@pytest.mark.needs("ip_vs")
@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(
            True,
            id="silent",
            marks=[
                pytest.mark.upstream("moby/moby#31208", "moby/moby#37822"),
                pytest.mark.known_bug("moby/moby#37822", measures=[ANSWER]),
            ],
        ),
        pytest.param(False, id="kept-alive"),
    ],
)
def test_connection_idle(silent: bool, swarm: Swarm, measure: Measures) -> None:
    """A connection that is silent for longer than IPVS remembers it still gets an answer."""
    app = Service("app", APP_IMAGE, ("web",), 2, APP_PORT)
    web, node = swarm.deploy(Workload("web", ("web",), (app,))), swarm.a_worker()
    with inside(web) as at:
        forget_idle_connections(node, web.networks["web"], after=FORGOTTEN_AFTER)
        answered = at[node.name].time_to_answer_after(
            2.5 * FORGOTTEN_AFTER,
            virtual_address(web, "app", "web"),
            APP_PORT,
            every=None if silent else 1.0,
        )
    measure(ANSWER, answered)


def ramp(load: Load, web: Deployment) -> Traffic:
    """Return a load that doubles with each step."""
    shape = [(STEP, int(rate / PER_USER)) for rate in (*RATES, RATES[0])]
    return load.http(web, shape=shape, per_user=PER_USER)


def climb(swarm: Swarm, traffic: Traffic) -> int:
    """Let a ramp go on while the swarm keeps up; return the number of the step that it did not."""
    since = time.monotonic()
    for number, rate in enumerate(RATES):
        # What was due in the step has been answered by then, and written to disk.
        swarm.observe((number + 1) * STEP + 1.0, f"{rate} requests a second", since=since)
        if not keeps_up(traffic.stage(number), rate):
            traffic.overload_from(number)
            return number
    return len(RATES)


def keeps_up(step: Requests, rate: int) -> bool:
    """Whether what was due in a step was answered, well or badly, and nearly all of it in time."""
    answered = [r.took for r in step.all if r.code]
    in_time = sum(took <= SLOW for took in answered)
    return in_time >= ANSWERED * rate * STEP


def not_the_swarms(traffic: Traffic, knee: int) -> str:
    """Return why the knee is not the swarm's limit; an empty text if it is."""
    if knee == len(RATES):
        return f"the swarm was not at its limit with {RATES[-1]} requests a second"
    if (found := traffic.account_of(knee)).unsent > found.blocked:
        return (
            f"with {RATES[knee]} requests a second the load generator was at its limit: it did "
            f"not send {found.unsent}, and waited with {found.blocked} for the swarm"
        )
    return ""


def by_load(traffic: Traffic, knee: int) -> Readings:
    """Return what was lost, and how slow it was, as functions of the load."""
    tried = RATES[: knee + 1]
    steps = {rate: traffic.stage(number) for number, rate in enumerate(tried)}
    below = [step for rate, step in steps.items() if rate in RATES[:knee]]
    asked = sum(step.count for step in below)
    lost = sum(step.count - step.outcomes.get("ok", 0) for step in below)
    beyond = steps[tried[-1]]
    return {
        KNEE: RATES[knee - 1] if knee else None,
        CARRIED: max(step.outcomes.get("ok", 0) / STEP for step in steps.values()),
        LOST_BELOW_THE_KNEE: (lost / asked if asked else None, f"{lost} of {asked}"),
        P99_AT: {str(rate): step.p99 for rate, step in steps.items()},
        LOST_AT: {str(rate): step.share_lost for rate, step in steps.items()},
        LOST_TO_BEYOND: dict(beyond.losses),
    }


def steal_cpu(faults: Faults, how: str, worker: Node) -> Fault:
    """Give a worker a small quota, or busy neighbours."""
    if how == "quota":
        return faults.resource.limit_cpu(worker, STARVED)
    return faults.resource.hog_cpu(worker, processes=4, weight=4)


def requests_in(traffic: Traffic, stolen: Fault) -> Readings:
    """Return the measures of requests: of each stage of the ramp, and once the CPU was back."""
    stages = {}
    for number, (_, users) in enumerate(RAMP):
        at = stolen.began + number * STAGE
        stages[str(users)] = traffic.window(at, at + STAGE)
    healed = stolen.began + OBSERVED + DRAINED
    after = traffic.window(healed, healed + AFTER)
    return {
        LOST_WITH: {users: stage.share_lost for users, stage in stages.items()},
        SLOWEST: {users: stage.p99 for users, stage in stages.items()},
        LOST_AFTER: after.share_lost,
    }


def by_every_way(
    swarm: Swarm, node: Node, hindered: nullcontext[None] | Fault, *, times: int
) -> Readings:
    """Deploy, time every way in, from ``node`` where it begins inside; return the measures."""
    web = swarm.deploy(ways_in())
    web.change("direct", in_host_mode)
    updated = web.time_to_updated("direct", within=UPDATED.limit)
    entry = swarm.leader
    with inside(web) as at, hindered:
        here, there = at[node.name], outside(web)
        targets = {
            "mesh": (there, entry.address, MESH),
            "host mode": (there, entry.address, HOST_MODE),
            "VIP": (here, virtual_address(web, "app", "web"), APP_PORT),
            "task": (here, task_address(web, "app", "web", away_from=node), APP_PORT),
        }
        took = {
            way: place.request_times(host, port, times=times)
            for way, (place, host, port) in targets.items()
        }
    return {
        UPDATED: updated,
        MEDIAN: {way: percentile(seconds, 50) for way, seconds in took.items()},
        **{P99[way]: percentile(seconds, 99) for way, seconds in took.items()},
    }


def ways_in() -> Workload:
    """An app behind the mesh and its VIP, and the same on every node behind a host-mode port."""
    app = Service("app", APP_IMAGE, ("web",), 3, APP_PORT, published=MESH)
    direct = Service("direct", APP_IMAGE, ("web",), None, APP_PORT)
    return Workload("ways", ("web",), (app, direct), entry="app")


def in_host_mode(spec: dict[str, Any]) -> None:
    """Have a service's port published by each task on its own node."""
    port = {"Protocol": "tcp", "TargetPort": APP_PORT, "PublishedPort": HOST_MODE}
    spec["EndpointSpec"] = {**spec["EndpointSpec"], "Ports": [{**port, "PublishMode": "host"}]}


def percentile(took: list[float], percent: int) -> float:
    """Return a percentile by the nearest rank."""
    return sorted(took)[math.ceil(percent / 100 * len(took)) - 1]
