"""Whether a swarm stays one when its nodes have no CPU to spare.

A worker gets a small share of a CPU, or shares its own with busy neighbours, while Locust's users
double twice. That requests become slow is the application's affair and only put on record. The
swarm's is that the worker is not given up: gossip does not flap, the node stays ready, and once
the CPU is back nobody gets an error. Beside it, what a balancer in the kernel adds under load: the
ways in side by side, and a connection that is silent for longer than IPVS remembers it.
"""

from __future__ import annotations

import http.client
import math
import time
from contextlib import ExitStack, contextmanager, nullcontext

import pytest

from harness.probes.ipam import allocation
from harness.probes.ipvs import load_balancer
from harness.probes.sampling.netns import from_a_thread
from harness.probes.sampling.vantage_containers import VantageContainers
from harness.swarm import APP_IMAGE, APP_PORT, Service, Workload, balanced_web
from harness.wait import NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("moby/moby#32841", "moby/moby#32195", "moby/moby#41232"),
]

# Users ask once a second each; their number doubles twice.
STAGE = 10.0
RAMP = ((STAGE, 10), (STAGE, 20), (STAGE, 40))
OBSERVED = 3 * STAGE

# The share of a CPU that a starved worker has for dockerd, containerd and all of its tasks.
STARVED = 0.05

# A probe of gossip waits for 0.5 s, asks three others, and suspects for 4 s before it gives a
# node up; a dockerd that runs in every tenth of a second answers in time (memberlist, LAN).
FLAPS = "times a peer was held for failed"
GOSSIP = "memberlist: 0.5 s for an answer, three more ways to ask, then 4 s of suspicion"

# The dispatcher waits for three heartbeats of 5 s (swarmkit manager/dispatcher).
DOWN = "looks at which a starved node was not ready"
DISPATCHER = "swarmkit: a node is down after 13.5 to 16.5 s without a heartbeat"

# Requests under way are answered or given up after 10 s; what comes then is served as before.
DRAINED = 10.0
AFTER = 10.0
WELL = "share of requests lost once the CPU is back"

# A SYN that is dropped is sent again after a second (TCP's first time-out).
RETRIED = 1.0

# Three tasks, one after the other.
UPDATED = 90.0

MESH, HOST_MODE = 8080, 8081

ASKED = 100  # requests of each way in
PAUSE = 0.05  # seconds between them
LATE = 0.3  # seconds that each packet of a hindered node waits; a request takes four of them


@pytest.mark.parametrize("how", ["quota", pytest.param("neighbours", marks=pytest.mark.thorough)])
def test_cpu_stolen(how, swarm, load, faults, gossip, measure):
    """A worker with next to no CPU is slow, and a member all the same."""
    web = swarm.deploy(balanced_web(replicas=4))
    worker = swarm.a_worker()
    steal = {
        "quota": lambda: faults.resource.limit_cpu(worker, STARVED),
        "neighbours": lambda: faults.resource.hog_cpu(worker, processes=4, weight=4),
    }
    with load.http(web, shape=RAMP) as traffic:
        with steal[how]() as stolen:
            away = looks(swarm, worker, until=stolen.injected_at + OBSERVED)
        time.sleep(DRAINED + AFTER)
    put_on_record(measure, traffic, stolen, gossip, away)


@pytest.mark.control(FLAPS, DOWN)
def test_control_no_cpu_at_all(swarm, load, faults, gossip, measure):
    """A worker that stands still is given up, by gossip and by the dispatcher."""
    web = swarm.deploy(balanced_web(replicas=4))
    worker = swarm.a_worker()
    with load.http(web, shape=RAMP) as traffic:
        with faults.process.pause_node(worker) as stolen:
            away = looks(swarm, worker, until=stolen.injected_at + OBSERVED)
        time.sleep(DRAINED + AFTER)
    put_on_record(measure, traffic, stolen, gossip, away)


@pytest.mark.thorough
@pytest.mark.needs("ip_vs")
@pytest.mark.upstream("moby/moby#30820")
def test_ways_in(swarm, measure):
    """What a request takes by the mesh, a virtual address, a task's own, and a host-mode port."""
    on_ways_in(swarm, measure, swarm.a_worker(), nullcontext())


@pytest.mark.thorough
@pytest.mark.needs("ip_vs", "netem")
@pytest.mark.control("99th percentile by task")
def test_control_slow_way_in(swarm, faults, measure):
    """A node whose packets between containers are late is seen to be slow."""
    node = swarm.a_worker()
    late = faults.network.delay(node, LATE, plane="data")
    on_ways_in(swarm, measure, node, late, times=ASKED // 10)


def on_ways_in(swarm, measure, node, hindered, times=ASKED):
    """Deploy, and time every way in, from ``node`` where it begins inside."""
    web = swarm.deploy(ways_in())
    web.change("direct", in_host_mode)
    web.time_to_updated("direct", within=UPDATED)
    entry = swarm.leader
    with watchers(swarm, web) as there, hindered:
        inside = there[node.name].namespace
        ways = {
            "mesh": (None, entry.address, MESH),
            "host mode": (None, entry.address, HOST_MODE),
            "VIP": (inside, virtual_address(swarm, "app"), APP_PORT),
            "task": (inside, task_address(swarm, web, "app", away_from=node), APP_PORT),
        }
        site = swarm.lab.client_host()
        for name, (namespace, host, port) in ways.items():
            took = timed(site, namespace, host, port, times)
            measure(f"median by {name}", percentile(took, 50), unit="s", better="lower")
            measure(f"99th percentile by {name}", percentile(took, 99), unit="s").below(
                RETRIED, source="a SYN that is lost or dropped comes again after 1 s"
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
                pytest.mark.known_bug(
                    "moby/moby#37822", measures=["time to an answer after the silence"]
                ),
            ],
        ),
        pytest.param(False, id="kept-alive"),
    ],
)
def test_connection_idle(silent, swarm, measure):
    """A connection that is silent for longer than IPVS remembers it still gets an answer."""
    forgets = 5  # seconds; the kernel's own is 900
    web = swarm.deploy(app_alone())
    with watchers(swarm, web) as there:
        node = swarm.a_worker()
        balancer = load_balancer(node, web.networks["web"]).name
        inside = there[node.name].namespace
        host = virtual_address(swarm, "app")
        node.run(
            [
                *("nsenter", f"--net=/run/docker/netns/{balancer}"),
                *("ipvsadm", "--set", str(forgets), str(forgets), str(forgets)),
            ]
        )
        answered = from_a_thread(
            lambda: after_a_silence(inside, host, 2.5 * forgets, every=None if silent else 1.0)
        )
    measure("time to an answer after the silence", answered, unit="s").below(
        RETRIED, source="a connection that is there answers at once"
    )


def ways_in():
    """An app behind the mesh and its VIP, and the same on every node behind a host-mode port."""
    app = Service("app", APP_IMAGE, ("web",), 3, APP_PORT, published=MESH)
    direct = Service("direct", APP_IMAGE, ("web",), None, APP_PORT)
    return Workload("ways", ("web",), (app, direct), entry="app")


def in_host_mode(spec):
    """Have a service's port published by each task on its own node."""
    port = {"Protocol": "tcp", "TargetPort": APP_PORT, "PublishedPort": HOST_MODE}
    spec["EndpointSpec"] = {**spec["EndpointSpec"], "Ports": [{**port, "PublishMode": "host"}]}


def app_alone():
    """An app on a network of its own, used from inside."""
    return Workload("web", ("web",), (Service("app", APP_IMAGE, ("web",), 2, APP_PORT),))


def looks(swarm, worker, *, until):
    """How often, looking once a second, the worker was not ready."""
    away = 0
    while time.monotonic() < until:
        away += swarm.member(worker).state != "ready"
        time.sleep(1.0)
    return away


@contextmanager
def watchers(swarm, web):
    """A container on each node in the workload's network; by the node's name."""
    nodes = [*swarm.managers, *swarm.workers]
    made = VantageContainers(nodes, web.networks)
    with ExitStack() as stack:
        stack.callback(made.close)
        made.start()
        yield {watcher.node.name: watcher for watcher in made.there()}


def virtual_address(swarm, service):
    """A service's virtual address in the workload's own network."""
    [found] = [g for g in allocation(swarm).given if g.owner == service and g.network == "web"]
    return found.address


def task_address(swarm, web, service, *, away_from):
    """The address in the workload's network of a task on another node."""
    task = next(t for t in web.tasks(service) if t.running and t.node != away_from.name)
    given = [g for g in allocation(swarm).given if g.owner == f"task {task.id}"]
    return next(g.address for g in given if g.network == "web")


def timed(site, namespace, host, port, times):
    """Seconds of each of many requests, each by a new connection."""

    def one():
        if namespace is None:
            return site.network.call(lambda: once(host, port))
        return from_a_thread(lambda: asked(namespace, host, port))

    took = []
    for _ in range(times):
        took.append(one())
        time.sleep(PAUSE)
    return took


def asked(namespace, host, port):
    """Seconds of one request from inside a namespace; for a thread of its own."""
    with namespace.entered():
        return once(host, port)


def once(host, port):
    """Seconds from the connecting to the end of the answer."""
    since = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        connection.getresponse().read()
        return time.monotonic() - since
    finally:
        connection.close()


def after_a_silence(namespace, host, seconds, *, every):
    """How long the answer takes on a connection that was silent, or spoke ``every`` so often."""
    with namespace.entered():
        connection = http.client.HTTPConnection(host, APP_PORT, timeout=5)
        connection.connect()
    with_answer(connection)
    end = time.monotonic() + seconds
    while every is not None and time.monotonic() + every < end:
        time.sleep(every)
        with_answer(connection)
    time.sleep(max(0.0, end - time.monotonic()))
    since = time.monotonic()

    def answered():
        try:
            with_answer(connection, reconnect=False)
        except (OSError, http.client.HTTPException) as error:
            return NotYet(f"{type(error).__name__}: {error}")
        return True

    try:
        return time_until(answered, state="an answer", within=5.0, every=5.0, since=since)
    finally:
        connection.close()


def with_answer(connection, *, reconnect=True):
    """One request on a connection, answered to its end."""
    if not reconnect:
        connection.auto_open = 0
    connection.request("GET", "/")
    connection.getresponse().read()


def percentile(took, percent):
    """A percentile by the nearest rank."""
    return sorted(took)[math.ceil(percent / 100 * len(took)) - 1]


def put_on_record(measure, traffic, stolen, gossip, away):
    """While the CPU was stolen, and after it was back."""
    begun = stolen.began
    for number, (_, users) in enumerate(RAMP):
        at = begun + number * STAGE
        stage = traffic.window(at, at + STAGE)
        words = f"with {users} users"
        measure(f"share of 50x {words}", stage.share_of_50x, unit="1", better="lower")
        measure(f"share of connection errors {words}", stage.share_of_errors, unit="1")
        measure(f"99th percentile {words}", stage.p99, unit="s")
    failed = gossip.changes("failed", since=begun, until=begun + OBSERVED)
    measure(FLAPS, len(failed), unit="1").equals(0, source=GOSSIP)
    measure(DOWN, away, unit="1").equals(0, source=DISPATCHER)
    healed = begun + OBSERVED + DRAINED
    after = traffic.window(healed, healed + AFTER)
    measure(WELL, after.share("5xx", "refused", "reset", "timeout"), unit="1").below(
        0.01, source="the node was never away: nothing has to be found again"
    )
