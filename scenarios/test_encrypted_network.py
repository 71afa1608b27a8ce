"""Whether an encrypted overlay network is encrypted: on the wire, not by what an API says of it.

A client on one node keeps a connection to a task on another, and all frames between nodes are
looked at where they enter the fabric. Of an encrypted network they are ESP, and the words of the
connection are in none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.load import ECHO_PORT, LongConnections, echo_service
from harness.probes.sampling.vantage_containers import VantageContainers
from harness.probes.single_requests import task_address
from harness.probes.wire import Wire
from harness.swarm import Deployment, Network, Swarm, Workload
from harness.trial import Expectation, Measures, Observation, Trial

pytestmark = [
    pytest.mark.swarm(managers=1, workers=1),
    pytest.mark.thorough,
    pytest.mark.needs("esp"),
    pytest.mark.upstream("moby/libnetwork#2462"),
]

SAID = b"ping\n"

READABLE = Expectation(
    "frames in which what was said can be read",
    unit="frames",
    exactly=0,
    source="moby overlay/encryption.go: all VXLAN of an encrypted network passes IPsec",
    control="test_control_not_encrypted",
)
ENCRYPTED = Expectation(
    "encrypted frames between the nodes",
    unit="frames",
    at_least=20,
    source="two answers a second, for ten seconds at least: a question and an answer each",
    control="test_control_not_encrypted",
)
ANSWERED = Observation("time until the client is answered", unit="s")
ANSWERED_WITHIN = 30.0  # networkdb: a bulk sync every 30 s brings what gossip lost


def test_encrypted(swarm: Swarm, trial: Trial, measure: Measures) -> None:
    """What is said over an encrypted network is not seen between the nodes."""
    with connected(swarm, trial, encrypted=True) as (wire, users):
        measure(ANSWERED, users.time_to_all_answered(within=ANSWERED_WITHIN))
        swarm.observe(10.0, "the connection is used")
    measure(READABLE, wire.readable)
    measure(ENCRYPTED, wire.count("esp"))


@pytest.mark.control
def test_control_not_encrypted(swarm: Swarm, trial: Trial, measure: Measures) -> None:
    """The same network without encryption is read by whoever is in the middle."""
    with connected(swarm, trial, encrypted=False) as (wire, users):
        users.time_to_all_answered(within=ANSWERED_WITHIN)
        swarm.observe(10.0, "the connection is used")
    measure(READABLE, wire.readable)
    measure(ENCRYPTED, wire.count("esp"))


@contextmanager
def connected(
    swarm: Swarm, trial: Trial, *, encrypted: bool
) -> Iterator[tuple[Wire, LongConnections]]:
    """Keep a connection from the manager to a task on the worker, and look on the wire."""
    network = Network("secret", encrypted=encrypted)
    echo = echo_service(networks=("secret",), role="worker")
    web: Deployment = swarm.deploy(Workload("secret", (network,), (echo,)))
    places = VantageContainers([swarm.leader], web.networks)
    places.start()
    try:
        [place] = places.there()
        address = task_address(web, "echo", "secret", away_from=swarm.leader)
        with (
            Wire(swarm.lab, trial, marker=SAID) as wire,
            LongConnections(place.namespace.run, (address, ECHO_PORT), trial, users=1) as users,
        ):
            yield wire, users
    finally:
        places.close()
