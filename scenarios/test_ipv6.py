"""Whether tasks on different nodes reach each other over IPv6, on a network that has both families.

Swarm hands out one address for each task, mostly an IPv4 one. That of the other family is given by
the engine of the task's node, out of a subnet that every engine takes for its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from harness.load import ECHO_PORT, echo_service
from harness.probes.ipv6 import TaskAddress, ipv6_addresses, not_reached
from harness.swarm import ANY_SUBNET, Deployment, Network, Swarm, Workload
from harness.trial import Expectation, Measures, Observation

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.thorough,
    pytest.mark.upstream(
        "docker/for-linux#973", "moby/moby#48116", "moby/moby#43615", "moby/moby#41624"
    ),
]

FOR_ITSELF = "docker/for-linux#973"  # each engine gives out addresses as if it were alone
TASKS = 6  # two on each node: one asks the other, which has to work, and those of other nodes

STARTED = Expectation(
    "time until all tasks run",
    unit="s",
    at_most=60,
    source="swarmkit: a task that is refused is tried again after 5 s; ten tries",
    control="test_control_no_room",
)
UNREACHED = Expectation(
    "questions to a task's IPv6 address that it did not answer",
    unit="1",
    exactly=0,
    source="docker network create --ipv6: containers of the network reach each other over IPv6",
    control="test_control_ipv4_only",
)
REFUSED = Observation("tasks that were refused on the way", unit="tasks")
SHARED = Observation("IPv6 addresses that several tasks have", unit="addresses")


BOTH_NAMED = Network("both", subnet="10.77.0.0/24", subnet_ipv6="fd00:77::/64")
ONE_CHOSEN = Network("both", subnet="10.77.0.0/24", subnet_ipv6=ANY_SUBNET)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(
            BOTH_NAMED,
            id="subnet-named",
            marks=[
                pytest.mark.known_bug(
                    *("moby/moby#48116", "moby/moby#52469"), engines=">=27.0", measures=[STARTED]
                ),
                # No measures: a task that was given an IPv6 address instead of an IPv4 one is
                # refused, and may leave wrong routes behind, which the oracles see.
                pytest.mark.known_bug(FOR_ITSELF, "moby/moby#41624", engines="<27.0"),
            ],
        ),
        pytest.param(
            ONE_CHOSEN,
            id="subnet-chosen",
            marks=[
                pytest.mark.known_bug(FOR_ITSELF, engines=">=27.0", measures=[UNREACHED]),
                pytest.mark.known_bug("moby/moby#43615", engines="<27.0", measures=[STARTED]),
            ],
        ),
    ],
)
def test_both_families(network: Network, swarm: Swarm, measure: Measures) -> None:
    """The network's IPv6 subnet is named, or it is left to the engine to choose one."""
    web = deploy(swarm, network)
    started = web.time_to_running("echo", within=STARTED.limit)
    measure(STARTED, started)
    measure(REFUSED, sum(task.state in ("rejected", "failed") for task in web.tasks("echo")))
    if started.reached:
        found = ipv6_addresses(web, "echo", network.name)
        measure(SHARED, shared(found))
        missed = not_reached(web, found, port=ECHO_PORT)
        measure(UNREACHED, len(missed), note="; ".join(missed[:2]))


@pytest.mark.control
def test_control_ipv4_only(swarm: Swarm, measure: Measures) -> None:
    """Without IPv6 the same tasks run, and none can be asked over it."""
    web = deploy(swarm, Network("both", subnet="10.77.0.0/24"))
    web.wait_running(within=STARTED.limit)
    missed = not_reached(web, ipv6_addresses(web, "echo", "both"), port=ECHO_PORT)
    measure(UNREACHED, len(missed), note="; ".join(missed[:2]))


@pytest.mark.control
def test_control_no_room(swarm: Swarm, measure: Measures) -> None:
    """A /30 has one address besides the gateway's: no six tasks run on it."""
    web = deploy(swarm, Network("both", subnet="10.77.0.0/30"))
    measure(STARTED, web.time_to_running("echo", within=STARTED.limit))


def deploy(swarm: Swarm, network: Network) -> Deployment:
    """Create the network, and six tasks on it."""
    echo = echo_service(networks=(network.name,), replicas=TASKS)
    return swarm.create(Workload("both", (network,), (echo,)))


def shared(found: Iterable[TaskAddress]) -> int:
    """Count the addresses that several tasks have."""
    owners = Counter(each.address for each in found if each.address)
    return sum(count > 1 for count in owners.values())
