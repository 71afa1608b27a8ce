"""Whether a worker can be made a manager when the manager by which it once joined is gone.

It is what an operator does who has lost a manager. Any manager of the swarm can take a new one in,
and every node knows them all.
"""

from __future__ import annotations

import time

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.swarm import Swarm
from harness.trial import Expectation, Measures
from harness.wait import Elapsed

pytestmark = [
    pytest.mark.swarm(managers=3, workers=1),
    pytest.mark.upstream("moby/moby#47854", "moby/moby#37175", "moby/moby#34835"),
    pytest.mark.thorough,
]

PROMOTED = Expectation(
    "time until the promoted worker is a manager",
    unit="s",
    at_most=10,
    source="two heartbeats of 5 s (swarmkit, dispatcher): its role and its certificate come with "
    "the session, then it joins raft; 0.8 to 0.9 s were measured where the manager was there",
    control="test_control_worker_cut_off",
)


@pytest.mark.parametrize(
    "first",
    [
        "there",
        pytest.param("killed", marks=pytest.mark.known_bug("moby/moby#47854", measures=[PROMOTED])),
        pytest.param(
            "demoted",
            marks=pytest.mark.known_bug("moby/moby#47854", engines="<26.1", measures=[PROMOTED]),
        ),
    ],
)
def test_join_address(first: str, swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A worker is promoted; the manager by which it joined is there, killed, or demoted."""
    manager, worker = joined_by(swarm), swarm.workers[0]
    if first == "killed":
        faults.kill_node(manager).inject()
        swarm.wait_for_leader(other_than=manager, within=60)
    elif first == "demoted":
        swarm.set_role(manager, "worker")
        swarm.wait_for_leader(other_than=manager, within=60)
        swarm.wait_for_ready([manager], within=60)
    measure(PROMOTED, time_to_promoted(swarm, worker))


@pytest.mark.control
def test_control_worker_cut_off(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A worker that no manager can talk to hears nothing of its promotion."""
    worker = swarm.workers[0]
    with faults.network.isolate(worker, plane="control"):
        measure(PROMOTED, time_to_promoted(swarm, worker))


def joined_by(swarm: Swarm) -> Node:
    """Return the manager by which all others joined: the first, on which the swarm began."""
    return swarm.lab.node("m1")


def time_to_promoted(swarm: Swarm, worker: Node) -> Elapsed:
    """Promote a worker, and return how long it takes until it manages."""
    since = time.monotonic()
    swarm.set_role(worker, "manager")
    return swarm.time_to_ready([worker], within=60, since=since)
