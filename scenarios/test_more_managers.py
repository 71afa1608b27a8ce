"""What it buys to have five managers for three, and one for two, and what the change costs.

The operator's cure for managers that answered only "context deadline exceeded" was to have more of
them. Two workers of a swarm of five nodes are promoted while it serves; then two managers die, of
which the leader is one: three of five are a majority, one of three is none. And of two managers one
is demoted: the other is then a majority by itself, whatever becomes of the first.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.load import Load
from harness.swarm import Swarm, balanced_web
from harness.trial import Expectation, Measures
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.upstream("moby/moby#31758", "moby/moby#30847", "moby/swarmkit#2670"),
]

AN_ELECTION = (
    "swarmkit: the others campaign after 10 to 20 ticks of 1 s, or a second round, and a request "
    "waits for a leader for 20 s"
)

CHANGED = Expectation(
    "time until there are {count} managers",
    unit="s",
    at_most=60,
    source="swarmkit: each change of a role is a certificate, a change of raft's membership and a "
    "session with a back-off of up to 8 s; roles that wait are looked at every 16 s",
    no_control="it is the managers' own list",
)
WRITE = Expectation(
    "time until a write with two managers dead",
    unit="s",
    at_most=60,
    source=AN_ELECTION,
    control="test_control_three_managers",
)
WRITE_ALONE = Expectation(
    "time until a write with the demoted manager dead",
    unit="s",
    at_most=15,
    source="a lone manager asks nobody; a write is a raft entry on its own disk, on a slow machine",
    control="test_control_two_managers",
)
LOST = Expectation(
    "share of requests nobody answered while the managers change",
    unit="1",
    at_most=0.005,
    source="a manager's role has no part in the way of a request; one in 200 for a slow machine",
    no_control="test_rolling_upgrade.py has the same measure, and a control that breaks it",
)


@pytest.mark.swarm(managers=3, workers=2, serving=balanced_web())
def test_three_become_five(swarm: Swarm, load: Load, faults: Faults, measure: Measures) -> None:
    """With five managers two may die; the change costs no request."""
    web = swarm.serving
    with load.http(web, users=10, per_user=1) as traffic:
        workers = swarm.workers
        for node in workers:
            swarm.set_role(node, "manager")
        measure(CHANGED, time_to_managers(swarm, 5), count="5")
    measure(LOST, traffic.share_of_errors)
    measure(WRITE, time_to_write_without(swarm, faults, [swarm.leader, workers[0]]))
    for node in workers:
        swarm.set_role(node, "worker")
    measure(CHANGED, time_to_managers(swarm, 3), count="3")


@pytest.mark.control
def test_control_three_managers(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """Of three managers one is no majority, and the check says so."""
    measure(WRITE, time_to_write_without(swarm, faults, [swarm.leader, swarm.a_follower()]))


@pytest.mark.thorough
@pytest.mark.swarm(managers=2, workers=1)
def test_two_become_one(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A demoted manager may die without a word to the other."""
    other = swarm.a_follower()
    swarm.set_role(other, "worker")
    measure(CHANGED, time_to_managers(swarm, 1), count="1")
    with faults.kill_dockerd(other) as outage:
        measure(WRITE_ALONE, swarm.time_to_write(since=outage, within=WRITE_ALONE.limit))


@pytest.mark.control
@pytest.mark.thorough
@pytest.mark.swarm(managers=2, workers=1)
def test_control_two_managers(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """Of two managers one is no majority."""
    with faults.kill_dockerd(swarm.a_follower()) as outage:
        measure(WRITE_ALONE, swarm.time_to_write(since=outage, within=WRITE_ALONE.limit))


def time_to_managers(swarm: Swarm, count: int) -> Elapsed:
    """Return how long until so many members are managers, all in reach, and nobody else is."""

    def there() -> bool | NotYet:
        # By raft's own list: a member's role is what it is meant to be.
        managers = [each for each in swarm.members() if each.reachability]
        near = sum(each.reachability == "reachable" for each in managers)
        if (near, len(managers)) != (count, count):
            return NotYet(f"{len(managers)} are managers, {near} of them in reach")
        return True

    return time_until(there, state=f"{count} managers", within=CHANGED.limit, every=0.5)


def time_to_write_without(swarm: Swarm, faults: Faults, victims: list[Node]) -> Elapsed:
    """Kill managers' dockerds; return how long until another manager takes a write."""
    with ExitStack() as dead:
        outages = [dead.enter_context(faults.kill_dockerd(node)) for node in victims]
        return swarm.time_to_write(since=outages[-1], within=WRITE.limit)
