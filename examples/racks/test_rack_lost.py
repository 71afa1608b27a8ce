"""The rack of the leader is cut off: the managers in the other racks elect a leader.

The racks are the failure domains of ``racks.toml``, next to this file.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.probes.leadership import Leadership
from harness.swarm import Swarm
from harness.trial import Expectation, Measures

NEW_LEADER = Expectation(
    "time to a new leader",
    unit="s",
    at_most=45,
    source="swarmkit: an election takes 10 to 20 ticks of 1 s, or a second round",
    control="test_control_every_rack_is_cut_off",
)


@pytest.mark.swarm(managers=3, workers=2)
def test_the_leaders_rack_is_cut_off(
    swarm: Swarm,
    faults: Faults,
    domains: Mapping[str, list[Node]],
    leadership: Leadership,
    measure: Measures,
) -> None:
    """Another rack's manager leads after an election."""
    leader = swarm.leader
    rack = next(nodes for nodes in domains.values() if leader in nodes)
    with faults.network.isolate(rack) as cut:
        measure(NEW_LEADER, leadership.time_to_new_leader(other_than=leader, since=cut))


@pytest.mark.control
@pytest.mark.swarm(managers=3, workers=2)
def test_control_every_rack_is_cut_off(
    swarm: Swarm,
    faults: Faults,
    domains: Mapping[str, list[Node]],
    leadership: Leadership,
    measure: Measures,
) -> None:
    """No rack has a majority of managers, so nobody is elected."""
    leader = swarm.leader
    with faults.network.partition(*domains.values()) as cut:
        found = leadership.time_to_new_leader(other_than=leader, since=cut, within=NEW_LEADER.limit)
        measure(NEW_LEADER, found)
