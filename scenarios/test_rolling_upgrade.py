"""What it costs to take a loaded swarm from one engine to the next, node by node, and back.

Each node is drained, shut down, and comes back with the other engine over the same state; when it
is ready it takes part again, and the next one's turn comes. Docker's order is managers first, the
leader last of them, then workers. The workload is on the workers, so managers have nothing to
drain, and on each of them, so no drain takes all of it; what enters by the node whose turn it is
is not asked of the swarm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import pytest

from harness.engine import same_release
from harness.swarm import NoAnswer, balanced_web
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.other_engines("next"),
    pytest.mark.upstream("moby/moby#32385", "moby/swarmkit#2126", "moby/moby#36003"),
]

# A drained node's tasks are shut down: 2 s for gossip, the services' grace of 3 s; and others have
# been started elsewhere by then, on a slow machine.
DRAINED = 60.0

# dockerd stops in order, and the other one starts, migrates what it finds, and opens its session.
READY = 90.0

# A leader is asked to go: the others stand after 10 to 20 ticks, or a second round.
WRITE = 60.0

# A task that is drained is taken out of names and ports 2 s before it is stopped (moby executor,
# defaultGossipConvergeDelay), and another one runs. A balancer that is drained breaks the
# connections it has, one for each user that it serves; users are few and ask once a second.
LOST = 0.02

# Gossip and IPVS know the tasks that moved.
SETTLED = 5.0

NEW = "nodes with the other engine"
SERVED = "share of requests lost at other nodes"


@dataclass
class Turn:
    """One node's turn: from when to when, in trial seconds, and how long each step took."""

    node: str
    began: float
    ended: float
    drained: Elapsed
    ready: Elapsed
    write: Elapsed
    full: Elapsed


@pytest.mark.deadline(1800)
@pytest.mark.parametrize(
    ("order", "again"),
    [
        pytest.param("managers first", False, id="managers-first"),
        pytest.param("workers first", False, id="workers-first", marks=pytest.mark.thorough),
        pytest.param("managers first", True, id="and-back", marks=pytest.mark.thorough),
    ],
)
def test_rolling_upgrade(order, again, swarm, load, faults, other_engines, trial, measure):
    """Node by node to the next engine: requests at the others are served, the API is there."""
    web = swarm.deploy(on_every_worker())
    nodes = in_order(swarm, order)
    former = swarm.leader.engine.version
    [engine] = other_engines
    with load.http(web, users=4, per_user=1) as traffic:
        turns = [upgrade(swarm, web, node, engine, faults, trial) for node in nodes]
        if again:
            nodes = in_order(swarm, order)
            turns += [upgrade(swarm, web, node, former, faults, trial) for node in nodes]
        time.sleep(SETTLED)
    on_record(measure, traffic, turns)
    on_engines(measure, swarm, former if again else engine)
    left = [service for service in web.services if web.running(service) is not True]
    measure("services that are not complete in the end", len(left), unit="services").equals(
        0, source="what was asked for before is asked for still"
    )


@pytest.mark.control(SERVED, NEW)
def test_control_both_drained(swarm, load, faults, other_engines, trial, measure):
    """Both workers drained at once and one upgraded: requests are lost, and it is seen."""
    web = swarm.deploy(on_every_worker())
    [engine] = other_engines
    one, other = swarm.workers
    with load.http(web, users=4, per_user=1) as traffic:
        swarm.set_availability(other, "drain")
        turn = upgrade(swarm, web, one, engine, faults, trial)
        swarm.set_availability(other, "active")
        time.sleep(SETTLED)
    on_record(measure, traffic, [turn])
    on_engines(measure, swarm, engine)


def on_every_worker():
    """The balanced web with one task of each service on each worker."""
    web = balanced_web(role="worker")
    return replace(web, services=tuple(replace(each, replicas=None) for each in web.services))


def in_order(swarm, order):
    """Whose turn comes when: of the managers the leader is the last."""
    managers = [*swarm.followers, swarm.leader]
    return managers + swarm.workers if order == "managers first" else swarm.workers + managers


def upgrade(swarm, web, node, engine, faults, trial):
    """One node's turn: drained, changed for good, ready, active again."""
    began = trial.clock.now()
    swarm.set_availability(node, "drain")
    drained = time_until(
        lambda: idle(web, node), state=f"{node.name} to be drained", within=DRAINED, every=0.5
    )
    changing = time.monotonic()
    change = faults.process.change_engine(node, engine).inject()
    change.settle()
    ready = time_until(
        lambda: back(swarm, node, engine),
        state=f"{node.name} to be ready with engine {engine}",
        within=READY,
        every=0.5,
        since=changing,
    )
    write = swarm.time_to_write(since=changing, within=WRITE)
    swarm.set_availability(node, "active")
    full = web.time_to_running("balancer", within=DRAINED)
    ended = trial.clock.now()
    return Turn(node.name, began, ended, drained, ready, write, full)


def back(swarm, node, engine):
    """Whether the swarm has heard of a node since it has another engine, and holds it for ready."""
    try:
        member = swarm.member(node)
    except NoAnswer as error:
        return NotYet(error.what)
    if not same_release(member.engine, engine):
        return NotYet(f"{node.name} is still listed with engine {member.engine}")
    if member.role == "manager" and member.reachability != "reachable":
        return NotYet(f"{node.name} is {member.reachability}")
    return member.state == "ready" or NotYet(f"{node.name} is {member.state}")


def idle(web, node):
    """Whether no task of the workload runs, or ends, on a node."""
    over = {"shutdown", "complete", "failed", "rejected", "remove", "orphaned"}
    left = [task for task in web.tasks() if task.node == node.name and task.state not in over]
    return NotYet(f"{len(left)} tasks are on {node.name}") if left else True


def on_record(measure, traffic, turns):
    """What the turns took, and what was lost meanwhile by those whose turn it was not."""
    asked = [
        request
        for request in traffic.requests
        if not any(
            turn.node == request.entry and turn.began <= request.t <= turn.ended + SETTLED
            for turn in turns
        )
        and request.outcome != "client"
    ]
    lost = sum(request.outcome != "ok" for request in asked)
    share = lost / len(asked) if asked else None
    measure(SERVED, share, unit="1", note=f"{lost} of {len(asked)}").below(
        LOST, source="moby: what is drained is out of names and ports 2 s before it is stopped"
    )
    drained = [turn.drained for turn in turns]
    measure("slowest drain", slowest(drained), unit="s", note=listed(drained)).below(
        DRAINED - 1, source="moby: 2 s for gossip, then the service's grace of 3 s"
    )
    ready = [turn.ready for turn in turns]
    measure(
        "slowest change of engine until ready", slowest(ready), unit="s", note=listed(ready)
    ).below(
        READY - 1, source="swarmkit agent: sessions are opened again with a back-off of up to 8 s"
    )
    write = [turn.write for turn in turns]
    measure(
        "slowest change of engine until a write", slowest(write), unit="s", note=listed(write)
    ).below(WRITE - 1, source="swarmkit: election after 10 to 20 ticks of 1 s, or a second round")
    full = [turn.full for turn in turns]
    measure("slowest return of a balancer", slowest(full), unit="s", note=listed(full)).below(
        DRAINED - 1, source="swarmkit: a global service runs on a node as soon as it is active"
    )


def slowest(times):
    """The slowest turn; one that did not come to its end, if there is such."""
    late = [each for each in times if not each.reached]
    return late[0] if late else max(times, key=lambda each: each.seconds)


def listed(times):
    """All turns, for the record."""
    return ", ".join(f"{each.seconds:.1f}" for each in times) + " s"


def on_engines(measure, swarm, engine):
    """Which engine the nodes say they have."""
    told = [member.engine for member in swarm.members()]
    new = sum(same_release(each, engine) for each in told)
    measure(NEW, new, unit="nodes", better="higher", note=", ".join(sorted(told))).equals(
        len(told), source="each node's turn came"
    )
