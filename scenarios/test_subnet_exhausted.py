"""What a user is told when an overlay network has no address left.

A network's addresses go to its gateway, to each service (a virtual one), to each task, and to each
node that has a task on it. When they run out, a service is accepted all the same. What becomes of
its tasks, who is told, and whether they run once addresses are free, is what is measured here.
"""

from __future__ import annotations

import re

import pytest

from harness.swarm import APP_IMAGE, APP_PORT, Service, Workload
from harness.wait import NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.upstream("moby/moby#35849", "moby/moby#37338", "moby/moby#43052"),
]

# A node that waits for an address of its own on a network gives up after 30 s, rejects the task
# and says why (moby daemon/cluster, node network attachments). A look every second sees it later.
TOLD = 30.0
LOOKING = 5.0

# Addresses that come free go to those who wait in the allocator's next pass, which follows at once
# (swarmkit manager/allocator). Then the task is placed and started, on a slow machine.
RUNNING = 60.0

# 2^6, less the network, its broadcast address and the gateway.
IN_A_26 = 61
FILLED = 30.0

TOLD_NAME = "time until the user is told why a task does not run"
FREED_NAME = "time until it runs when addresses are free"

# What a user can read of a task, if it says anything of the matter.
_SAYS_WHY = re.compile(r"\baddress|\bip\b|exhausted|subnet", re.IGNORECASE)


@pytest.mark.known_bug("moby/moby#35849", measures=[TOLD_NAME])
def test_slash_30(swarm, measure):
    """On a /30 hardly anything can run: the user should be told, and other networks not care."""
    narrow = swarm.create(
        Workload(
            "narrow", ("narrow",), (app("lost", "narrow", 2),), subnets={"narrow": "10.77.0.0/30"}
        )
    )
    wide = swarm.create(Workload("wide", ("wide",), (app("found", "wide", 2),)))
    beside = wide.time_to_running("found", within=RUNNING)
    told = time_to_told(narrow, "lost", within=TOLD + LOOKING)
    put_on_record(measure, swarm, told)
    measure("time until a service on another network runs", beside, unit="s").below(
        RUNNING - 1, source="swarmkit allocator: each network has its own addresses"
    )


@pytest.mark.thorough
@pytest.mark.known_bug("moby/moby#35849", measures=[TOLD_NAME])
def test_full_26(swarm, measure):
    """On a full /26 a task waits: the user should be told, and it runs when addresses are free."""
    full = fill(swarm)
    full.scale("late", 1)
    told = time_to_told(full, "late", within=TOLD + LOOKING)
    given = addresses(full)
    full.remove("filler")
    runs = full.time_to_running("late", within=RUNNING)
    put_on_record(measure, swarm, told)
    measure("addresses given out of a /26", len(given), unit="addresses", better="higher").equals(
        IN_A_26, source="2^6, less network, broadcast and gateway"
    )
    twice = len(given) - len(set(given))
    measure("addresses given out twice", twice, unit="addresses").equals(
        0, source="moby#31698: starting container failed: Address already in use"
    )
    measure(FREED_NAME, runs, unit="s").below(
        RUNNING - 1, source="swarmkit allocator: what is freed goes to those who wait, at once"
    )


@pytest.mark.control(FREED_NAME)
def test_control_nothing_freed(swarm, measure):
    """As long as no address comes free the task does not run, and the check says so."""
    full = fill(swarm)
    full.scale("late", 1)
    runs = full.time_to_running("late", within=RUNNING)
    measure(FREED_NAME, runs, unit="s").below(RUNNING - 1)


@pytest.mark.control("addresses given out of a /26")
def test_control_room_left(swarm, measure):
    """A /26 that is not full is told from a full one."""
    full = fill(swarm, tasks=IN_A_26 - 10)
    measure(
        "addresses given out of a /26", len(addresses(full)), unit="addresses", better="higher"
    ).equals(IN_A_26, source="2^6, less network, broadcast and gateway")


def app(name, network, replicas, *, constraints=()):
    """The HTTP app on one network."""
    return Service(
        name, APP_IMAGE, (network,), replicas=replicas, port=APP_PORT, constraints=constraints
    )


def fill(swarm, *, tasks=IN_A_26 + 9):
    """A /26 that is filled by tasks which have an address and no node that may run them."""
    filler = app("filler", "full", tasks, constraints=("node.labels.nowhere==true",))
    full = swarm.create(
        Workload(
            "full",
            ("full",),
            (filler, app("late", "full", 0)),
            subnets={"full": "10.78.0.0/26"},
        )
    )

    def filled():
        given = len(addresses(full))
        return given >= min(tasks, IN_A_26) or NotYet(f"{given} addresses are given out")

    time_until(filled, state="the network to be full", within=FILLED, every=1.0)
    return full


def addresses(made):
    """The addresses that tasks and services of a deployment have been given."""
    given = [address for task in made.tasks() for address in task.addresses]
    for id_ in made.services.values():
        found = made.swarm.ask(lambda api, id_=id_: api.api.inspect_service(id_))
        given += [vip["Addr"] for vip in found.get("Endpoint", {}).get("VirtualIPs") or []]
    return given


def time_to_told(made, service, *, within):
    """How long until each of a service's tasks runs, or something a user reads says why not.

    What counts as read is what ``docker service ps`` shows: of each slot, all tasks it ever had.
    """

    def told():
        slots = {}
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


def put_on_record(measure, swarm, told):
    """What the user was told, and what only whoever reads the leader's log is."""
    measure(TOLD_NAME, told, unit="s").below(
        TOLD + LOOKING, source="moby: a node gives up on its own address after 30 s and says why"
    )
    logs = (node.dir / "dockerd.log" for node in swarm.managers)
    lines = sum(
        log.read_text(errors="replace").count("could not find an available IP") for log in logs
    )
    measure("lines about it in the managers' logs", lines, unit="lines", better="higher").above(
        1, source="swarmkit allocator: task allocation failure"
    )
