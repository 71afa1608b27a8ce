"""Whether a manager that fails right after it has joined is one of the swarm's managers afterwards.

A manager counts from its join on: three managers, of which one may be lost. It has the leader's log
a little later, with the first message of raft that reaches it, up to a second after the join. One
that dies in between starts again with an empty log: it knows nobody to answer ("ignored message to
unknown peer"), so the leader never sends it what it lacks. It is listed as reachable, and the swarm
has two managers of three; the next failure takes the majority.
"""

from __future__ import annotations

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.swarm import Swarm
from harness.trial import Expectation, Measures

pytestmark = [
    pytest.mark.swarm(managers=2, spares=1),
    pytest.mark.upstream("moby/swarmkit#1360", "moby/swarmkit#2196"),
    pytest.mark.thorough,
]

BACK = 20.0  # seconds for the new manager to come back: the leader calls it every 8 s at least

WRITES = Expectation(
    "time until two of three managers accept a write",
    unit="s",
    at_most=45,
    source="two are a majority; should the leader step down, an election takes 10 to 20 ticks of "
    "1 s, or two rounds",
    control="test_control_stays_away",
)


@pytest.mark.parametrize("killed", ["at-once", "caught-up"])
def test_killed_after_its_join(
    killed: str, swarm: Swarm, faults: Faults, measure: Measures
) -> None:
    """The new manager's dockerd dies and is started again; then another manager dies."""
    follower, new = swarm.a_follower(), swarm.lab.node("s1")
    join_as_manager(swarm, new)
    if killed == "caught-up":
        swarm.wait_for_raft([new])
    with faults.kill_dockerd(new):
        pass
    swarm.observe(BACK, "the new manager comes back")
    with faults.kill_dockerd(follower) as outage:
        measure(WRITES, swarm.time_to_write(since=outage, within=60))


@pytest.mark.control
def test_control_stays_away(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """The new manager is not started again."""
    follower, new = swarm.a_follower(), swarm.lab.node("s1")
    join_as_manager(swarm, new)
    swarm.wait_for_raft([new])
    with faults.kill_dockerd(new), faults.kill_dockerd(follower) as outage:
        measure(WRITES, swarm.time_to_write(since=outage, within=60))


def join_as_manager(swarm: Swarm, node: Node) -> None:
    """Have a node join, as an operator who adds a manager would."""
    leader = swarm.leader
    token = swarm.ask(lambda api: api.api.inspect_swarm())["JoinTokens"]["Manager"]
    swarm.join(node, token=token, through=leader)
