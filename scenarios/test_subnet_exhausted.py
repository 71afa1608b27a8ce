"""What a user is told when an overlay network has no address left.

A network's addresses go to its gateway, to each service (a virtual one), to each task, and to each
node that has a task on it. When they run out, a service is accepted all the same. What becomes of
its tasks, who gets an error, and whether they run once addresses are free, is measured here.
"""

from __future__ import annotations

import re

import pytest

from harness.swarm import APP_IMAGE, APP_PORT, Deployment, Network, Service, Swarm, Task, Workload
from harness.trial import Expectation, Measures
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.upstream("moby/moby#35849", "moby/moby#37338", "moby/moby#43052"),
]

IN_A_26 = 61  # 2^6, less the network, its broadcast address and the gateway
FILLED_WITHIN = 30.0

TOLD = Expectation(
    "time until the user is told why a task does not run",
    unit="s",
    at_most=35,
    source="moby daemon/cluster: a node gives up on its own address after 30 s and says why; "
    "tasks are listed every second",
    no_control="the known bug moby/moby#35849 breaks it with every engine so far",
)
LOGGED = Expectation(
    "lines about exhausted addresses in the managers' logs",
    unit="lines",
    at_least=1,
    source="swarmkit allocator: task allocation failure",
    control="test_control_room_left",
)
BESIDE = Expectation(
    "time until a service on another network runs",
    unit="s",
    at_most=60,
    source="swarmkit allocator: each network has its own addresses",
    control="test_control_both_full",
)
ASSIGNED = Expectation(
    "addresses assigned from a /26",
    unit="addresses",
    exactly=IN_A_26,
    source="2^6, less network, broadcast and gateway",
    control="test_control_room_left",
)
ASSIGNED_TWICE = Expectation(
    "addresses assigned twice",
    unit="addresses",
    exactly=0,
    source="moby#31698: starting container failed: Address already in use",
    no_control="no fault makes the allocator assign an address twice",
)
FREED = Expectation(
    "time until the waiting task runs once addresses are free",
    unit="s",
    at_most=60,
    source="swarmkit manager/allocator: what is freed goes to those who wait, in the next pass, "
    "which follows at once; then the task is placed and started",
    control="test_control_nothing_freed",
)


@pytest.mark.known_bug("moby/moby#35849", measures=[TOLD])
def test_slash_30(swarm: Swarm, measure: Measures) -> None:
    """On a /30 hardly anything can run: the user should be told, and other networks not care."""
    narrow = swarm.create(network_of("narrow", "10.77.0.0/30", app("lost", "narrow", 2)))
    wide = swarm.create(Workload("wide", ("wide",), (app("found", "wide", 2),)))
    measure(BESIDE, wide.time_to_running("found", within=BESIDE.limit))
    measure(TOLD, time_to_told(narrow, "lost", within=TOLD.limit))
    measure(LOGGED, lines_about_it(swarm))


@pytest.mark.thorough
@pytest.mark.known_bug("moby/moby#35849", measures=[TOLD])
def test_full_26(swarm: Swarm, measure: Measures) -> None:
    """On a full /26 a task waits: the user should be told, and it runs when addresses are free."""
    full = fill(swarm)
    full.scale("late", 1)
    measure(TOLD, time_to_told(full, "late", within=TOLD.limit))
    assigned = addresses(full)
    full.remove("filler")
    measure(FREED, full.time_to_running("late", within=FREED.limit))
    measure(ASSIGNED, len(assigned))
    measure(ASSIGNED_TWICE, len(assigned) - len(set(assigned)))
    measure(LOGGED, lines_about_it(swarm))


@pytest.mark.control
def test_control_nothing_freed(swarm: Swarm, measure: Measures) -> None:
    """As long as no address comes free the task does not run, and the check says so."""
    full = fill(swarm)
    full.scale("late", 1)
    measure(FREED, full.time_to_running("late", within=FREED.limit))


@pytest.mark.control
def test_control_room_left(swarm: Swarm, measure: Measures) -> None:
    """A /26 that is not full is not taken for a full one, and nobody logs that it is."""
    measure(ASSIGNED, len(addresses(fill(swarm, tasks=IN_A_26 - 10))))
    measure(LOGGED, lines_about_it(swarm))


@pytest.mark.control
def test_control_both_full(swarm: Swarm, measure: Measures) -> None:
    """Where the other network is as narrow, its service does not run, and the check says so."""
    swarm.create(network_of("narrow", "10.77.0.0/30", app("lost", "narrow", 2)))
    wide = swarm.create(network_of("wide", "10.79.0.0/30", app("found", "wide", 2)))
    measure(BESIDE, wide.time_to_running("found", within=BESIDE.limit))


def app(name: str, network: str, replicas: int, *, constraints: tuple[str, ...] = ()) -> Service:
    """The HTTP app on one network."""
    return Service(
        name, APP_IMAGE, (network,), replicas=replicas, port=APP_PORT, constraints=constraints
    )


def network_of(name: str, subnet: str, *services: Service) -> Workload:
    """Services on one network with a subnet of its own."""
    return Workload(name, (Network(name, subnet=subnet),), services)


def fill(swarm: Swarm, *, tasks: int = IN_A_26 + 9) -> Deployment:
    """Fill a /26 with tasks which have an address and no node that may run them."""
    filler = app("filler", "full", tasks, constraints=("node.labels.nowhere==true",))
    full = swarm.create(network_of("full", "10.78.0.0/26", filler, app("late", "full", 0)))

    def filled() -> NotYet | bool:
        assigned = len(addresses(full))
        return assigned >= min(tasks, IN_A_26) or NotYet(f"{assigned} addresses are assigned")

    time_until(filled, state="the network to be full", within=FILLED_WITHIN, every=1.0)
    return full


def addresses(made: Deployment) -> list[str]:
    """Return the addresses that tasks and services of a deployment have been assigned."""
    assigned = [address for task in made.tasks() for address in task.addresses]
    for id_ in made.services.values():
        found = made.swarm.ask(lambda api, id_=id_: api.api.inspect_service(id_))
        assigned += [vip["Addr"] for vip in found.get("Endpoint", {}).get("VirtualIPs") or []]
    return assigned


# What a user can read of a task, if it says anything of the matter.
_SAYS_WHY = re.compile(r"\baddress|\bip\b|exhausted|subnet", re.IGNORECASE)


def time_to_told(made: Deployment, service: str, *, within: float) -> Elapsed:
    """Return how long until each of a service's tasks runs, or says to a user why it does not.

    What a user reads is what ``docker service ps`` shows: of each slot, all tasks it ever had.
    """

    def told() -> NotYet | bool:
        slots: dict[int | None, list[Task]] = {}
        for task in made.tasks(service):
            slots.setdefault(task.slot, []).append(task)
        silent = [
            f"{service}.{slot} is {tasks[-1].state} ({tasks[-1].message})"
            for slot, tasks in slots.items()
            if not any(t.running or _SAYS_WHY.search(f"{t.error} {t.message}") for t in tasks)
        ]
        if not slots:
            return NotYet("it has no task yet")
        return NotYet("; ".join(silent)) if silent else True

    return time_until(told, state="the user to be told", within=within, every=1.0)


def lines_about_it(swarm: Swarm) -> int:
    """Return how many lines in the managers' logs say that no address was left."""
    logs = (node.log for node in swarm.managers)
    return sum(
        log.read_text(errors="replace").count("could not find an available IP") for log in logs
    )
