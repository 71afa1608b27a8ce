"""Whether a service that is removed and created again finds its network in order.

In each round a service's tasks die before they start: their program does not exist, so that each
has an endpoint and no process. While they die the service is removed, and created again at once
under the same name and port on another overlay network, now with a program. Engines of 2017 logged
"network sandbox does not exist for container" by the thousand and never came to rest. That line is
counted and not judged: later releases do not have it, and it was a symptom. What is judged is
whether the new service runs, whether its name is true, and whether anything is left in the end.
"""

from __future__ import annotations

import time
from contextlib import nullcontext

import pytest

from harness.faults import Fault, Faults
from harness.lab import Node
from harness.probes.ipam import allocation
from harness.probes.sandboxes import network_objects
from harness.pytest_plugin import Probes
from harness.swarm import (
    APP_IMAGE,
    APP_PORT,
    Deployment,
    NoAnswer,
    RestartPolicy,
    Service,
    Swarm,
    Workload,
)
from harness.trial import Expectation, Measures, Observation
from harness.wait import Elapsed, NotYet, expect_state, time_until

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream(
        "moby/moby#31111", "moby/moby#31698", "moby/moby#34163", "moby/moby#32479"
    ),
]

PORT = 8080
DEATHS = 3  # tasks that die before they start, in each round
DYING_WITHIN = 60.0

CONVERGED = Expectation(
    "slowest time until the new service runs",
    unit="s",
    at_most=30,
    source="moby: the old task is out of service for 2 s and then stopped, for at most 3 s; until "
    "then it holds its port. The new one is placed at once or after swarm's 5 s before a second "
    "try, and starts; the rest is for a busy node",
    control="test_control_no_such_program",
)
NAMES = Expectation(
    "time until the name is true after the last round",
    unit="s",
    at_most=30,
    source="gossip has the news within a second; what it lost comes with networkdb's bulk sync, "
    "every 30 s",
    no_control="test_discovery_stuck.py has the same check, and controls that break it",
)
CLEAN = Expectation(
    "time until nothing is left of the services",
    unit="s",
    at_most=30,
    source="moby: a removed service's task is out of service for 2 s, stopped within 3 s, and its "
    "container removed; a network without containers goes with its sandbox",
    control="test_control_container_stays",
)
NOT_REMOVED = Expectation(
    "networks that cannot be removed in the end",
    unit="networks",
    exactly=0,
    source="no task is attached to them",
    control="test_control_container_stays",
)
SAID = Observation("log lines about a missing sandbox", unit="lines")


@pytest.mark.parametrize(
    ("rounds", "busy"),
    [
        pytest.param(3, True, id="busy"),
        pytest.param(20, False, id="twenty-times", marks=pytest.mark.thorough),
        pytest.param(20, True, id="twenty-times-busy", marks=pytest.mark.thorough),
    ],
)
def test_created_again(
    rounds: int, busy: bool, swarm: Swarm, faults: Faults, probes: Probes, measure: Measures
) -> None:
    """Round after round the new service runs, and in the end nothing is left of any."""
    logs, nodes = probes.dockerd_logs, swarm.all_but()
    before, times, made = at_rest(nodes), list[Elapsed](), list[Deployment]()
    with hogged(swarm, faults) if busy else nullcontext():
        for number in range(rounds):
            dying = swarm.create(service_on(f"dying{number}", program="no-such-program"))
            wait_until_some_died(dying)
            dying.remove("app")
            since, healthy = time.monotonic(), swarm.create(service_on(f"healthy{number}"))
            times.append(healthy.time_to_running("app", within=CONVERGED.limit, since=since))
            made += [dying, healthy]
            if number < rounds - 1:
                healthy.remove("app")
        with probes.discovery.watch(healthy):
            measure(NAMES, probes.discovery.time_to_converged(within=NAMES.limit))
        healthy.remove("app")
        measure(CLEAN, time_until_clean(swarm, before))
    measure(CONVERGED, slowest(times), note=listed(times))
    stuck = networks_not_removed(made)
    measure(NOT_REMOVED, len(stuck), note="; ".join(stuck))
    measure(SAID, logs.count("no sandbox"))


@pytest.mark.control
def test_control_no_such_program(swarm: Swarm, measure: Measures) -> None:
    """A service whose tasks go on dying does not come to run, and the check says so."""
    dying = swarm.create(service_on("dying", program="no-such-program"))
    wait_until_some_died(dying)
    dying.remove("app")
    since = time.monotonic()
    again = swarm.create(service_on("dying-again", program="no-such-program"))
    measure(CONVERGED, again.time_to_running("app", within=CONVERGED.limit, since=since))


@pytest.mark.control
def test_control_container_stays(swarm: Swarm, probes: Probes, measure: Measures) -> None:
    """A container that stays on the network keeps it, and all that belongs to it."""
    before = at_rest(swarm.all_but())
    web = swarm.deploy(service_on("web"))
    with probes.discovery.watch(web, nodes=[swarm.a_worker()]):
        web.remove("app")
        measure(CLEAN, time_until_clean(swarm, before))
        stuck = networks_not_removed([web])
        measure(NOT_REMOVED, len(stuck), note="; ".join(stuck))


def service_on(network: str, *, program: str | None = None) -> Workload:
    """Return a service of two tasks, always of one name and port, on a network of its own."""
    app = Service(
        "app",
        APP_IMAGE,
        (network,),
        replicas=2,
        port=APP_PORT,
        published=PORT,
        command=(program,) if program else (),
        restart=RestartPolicy(delay=0.5),
    )
    return Workload(network, (network,), (app,))


def at_rest(nodes: list[Node]) -> frozenset[str]:
    """Return what there is on nodes once each has joined the ingress network."""
    there: frozenset[str] = frozenset()

    def joined() -> bool | NotYet:
        nonlocal there
        there, before = network_objects(nodes), there
        late = [node.name for node in nodes if f"sandbox ingress_sbox on {node.name}" not in there]
        if late:
            return NotYet(f"{', '.join(late)} have no ingress sandbox")
        return there == before or NotYet("something has changed within a second")

    expect_state(joined, state="all nodes to be at rest", within=60.0, every=1.0)
    return there


def hogged(swarm: Swarm, faults: Faults) -> Fault:
    """Have busy processes compete with a worker's dockerd, with as much weight as it has."""
    return faults.resource.hog_cpu(swarm.a_worker(), processes=4)


def wait_until_some_died(made: Deployment) -> None:
    """Wait until tasks have died before they started."""

    def died() -> bool | NotYet:
        ended = [task for task in made.tasks("app") if task.state in ("failed", "rejected")]
        return len(ended) >= DEATHS or NotYet(f"{len(ended)} have died")

    expect_state(died, state=f"{DEATHS} tasks to die", within=DYING_WITHIN, every=0.2)


def time_until_clean(swarm: Swarm, before: frozenset[str]) -> Elapsed:
    """Return how long until no node has more than before, and no task an address."""

    def clean() -> bool | NotYet:
        try:
            left = sorted(network_objects(swarm.all_but()) - before)
            left += [
                f"{each.address} in {each.network} is given to {each.owner}"
                for each in allocation(swarm).given
                if each.owner != "the gateway"
            ]
        except NoAnswer as error:
            return NotYet(error.what)
        return NotYet(f"{len(left)} are left: {'; '.join(left[:6])}") if left else True

    return time_until(clean, state="nothing to be left", within=CLEAN.limit, every=1.0)


def networks_not_removed(made: list[Deployment]) -> list[str]:
    """Remove the networks of deployments; return the engine's word on those that stay."""
    said = []
    for deployment in made:
        for id_ in deployment.networks.values():
            try:
                deployment.swarm.ask(lambda api, id_=id_: api.api.remove_network(id_))
            except NoAnswer as error:
                said.append(error.what)
    return said


def listed(times: list[Elapsed]) -> str:
    """Return all times, and what was seen last where one did not come to its end."""
    return "; ".join(f"{each.seconds:.1f} s {each.last}".rstrip() for each in times)


def slowest(times: list[Elapsed]) -> Elapsed:
    """Return the longest time; one that did not come to its end, if there is such."""
    return max(times, key=lambda each: (not each.reached, each.seconds))
