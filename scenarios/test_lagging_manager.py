"""What a manager costs that lags behind: new, or just restarted, it has not the leader's whole log.

A manager counts from its join on: three managers, of which one may be lost. It has the leader's log
a little later, with the first message of raft that reaches it, up to a second after the join. One
that dies in between starts again with an empty log: it knows nobody to answer ("ignored message to
unknown peer"), so the leader never sends it what it lacks. It is listed as reachable, and the swarm
has two managers of three; the next failure takes the majority.

A restarted manager lags until the leader dials it again, after up to 8 s. It cannot be elected with
an entry less than another, stands for election all the same (swarmkit asks for no votes
beforehand), and each time sets the others' clocks back to the beginning.
"""

from __future__ import annotations

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.probes.leadership import Leadership
from harness.swarm import Swarm
from harness.trial import Expectation, Measures

pytestmark = [
    pytest.mark.swarm(managers=2, spares=1),
    pytest.mark.upstream("moby/swarmkit#1360", "moby/swarmkit#2196"),
    pytest.mark.thorough,
]

BACK = 20.0  # seconds for the new manager to come back: the leader dials it every 8 s at least

WRITES = Expectation(
    "time until two of three managers accept a write",
    unit="s",
    at_most=45,
    source="two are a majority; should the leader step down, an election takes 10 to 20 ticks of "
    "1 s, or two rounds",
    control="test_control_stays_away",
)
NEW_LEADER = Expectation(
    "time to a new leader",
    unit="s",
    at_most=45,
    source="swarmkit: an election takes 10 to 20 ticks of 1 s, or two rounds",
    control="test_control_no_majority",
)


@pytest.mark.parametrize("killed", ["at-once", "caught-up"])
def test_new_manager_killed(killed: str, swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A new manager's dockerd dies and is started again; then another manager dies."""
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


@pytest.mark.parametrize("leader_dies", ["at-once", "later"])
@pytest.mark.swarm(managers=3)
def test_leader_killed_after_a_restart(
    leader_dies: str, swarm: Swarm, faults: Faults, leadership: Leadership, measure: Measures
) -> None:
    """A manager misses what is written while it is down; it answers, and then the leader dies."""
    leader, restarted = swarm.leader, swarm.a_follower()
    with faults.kill_node(restarted):
        swarm.set_labels(leader, {"written": "meanwhile"})
    if leader_dies == "later":
        swarm.wait_for_raft([restarted])
    with faults.kill_dockerd(leader) as outage:
        measure(NEW_LEADER, leadership.time_to_new_leader(other_than=leader, since=outage))


@pytest.mark.control
@pytest.mark.swarm(managers=3)
def test_control_no_majority(
    swarm: Swarm, faults: Faults, leadership: Leadership, measure: Measures
) -> None:
    """The restarted manager is down when the leader dies."""
    leader, down = swarm.leader, swarm.a_follower()
    with faults.kill_node(down), faults.kill_dockerd(leader) as outage:
        measure(NEW_LEADER, leadership.time_to_new_leader(other_than=leader, since=outage))


def join_as_manager(swarm: Swarm, node: Node) -> None:
    """Have a node join, as an operator who adds a manager would."""
    leader = swarm.leader
    token = swarm.ask(lambda api: api.api.inspect_swarm())["JoinTokens"]["Manager"]
    swarm.join(node, token=token, through=leader)
