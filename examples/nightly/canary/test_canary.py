"""A scenario that must fail, planted: a night in which it passes measures nothing."""

import pytest

from harness.faults import Faults
from harness.probes.leadership import Leadership
from harness.swarm import Swarm
from harness.trial import Expectation, Measures

NEW_LEADER = Expectation(
    "time to a new leader",
    unit="s",
    at_most=0.1,
    source="wrong on purpose: swarmkit's followers campaign 10 to 20 ticks of 1 s after the leader",
    no_control="it is one: night.sh ends with 1 unless this fails",
)


@pytest.mark.swarm(managers=3)
def test_canary(swarm: Swarm, faults: Faults, leadership: Leadership, measure: Measures) -> None:
    """Nobody leads a tenth of a second after the leader's death."""
    leader = swarm.leader
    with faults.kill_dockerd(leader) as outage:
        measure(NEW_LEADER, leadership.time_to_new_leader(other_than=leader, since=outage))
