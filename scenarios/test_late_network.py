"""Whether a worker whose network comes after its dockerd comes back.

Docker's unit starts dockerd after `network-online.target`, which says little where no network
manager waits for an address: a slow DHCP server, a bond, a VPN. A worker that was in a swarm asks
the kernel for its way to the manager it joined by, and there is none yet. Its host starts dockerd
again when that ends, three times within a minute, and then no more.
"""

from __future__ import annotations

import time

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.probes.tasks import Tasks
from harness.swarm import APP_IMAGE, Service, Swarm, Workload
from harness.trial import Expectation, Measures, Observation, oracles
from harness.wait import Elapsed

pytestmark = [
    pytest.mark.swarm(managers=1, workers=1),
    pytest.mark.thorough,
    pytest.mark.upstream("moby/moby#29580", "moby/moby#39027"),
]

STARTED = Expectation(
    "times that the worker's dockerd was started",
    unit="1",
    exactly=1,
    source="moby#31631: a swarm that cannot start must not end dockerd; it is tried again",
    control="test_control_dockerd_crashes",
)
RUNNING = Observation("time until the worker runs a new task once it has a network", unit="s")
LATE = 20.0
WATCHED = 60.0  # the agent's pauses between two tries are of at most 8 s, dockerd's of 30 s


@pytest.mark.known_bug("moby/moby#39027", measures=[STARTED, oracles.DIED])
def test_network_comes_late(swarm: Swarm, faults: Faults, tasks: Tasks, measure: Measures) -> None:
    """The address comes some seconds after dockerd, on a host whose unit restarts dockerd."""
    [worker], web = swarm.workers, swarm.deploy(one_task())
    before = starts(worker)
    with (
        tasks.watch(web),
        faults.host.supervise([worker]),
        faults.host.start_before_network(worker, late=LATE),
    ):
        measure(RUNNING, time_to_new_task(tasks))
        measure(STARTED, starts(worker) - before)


@pytest.mark.control
def test_control_dockerd_crashes(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A dockerd that crashes twice is started twice, by its log."""
    [worker] = swarm.workers
    before = starts(worker)
    with faults.host.crash_dockerd(worker, times=2):
        measure(STARTED, starts(worker) - before)


def one_task() -> Workload:
    """Return a service with a task on the worker."""
    return Workload("web", ("web",), (Service("app", APP_IMAGE, ("web",), role="worker"),))


def starts(node: Node) -> int:
    """Return how often a node's dockerd has been started, by its log."""
    return node.log.read_bytes().count(b'msg="Starting up"')


def time_to_new_task(tasks: Tasks) -> Elapsed:
    """Return how long from now until a task of the service that is new runs."""
    return tasks.time_to_running("app", 1, within=WATCHED, since=time.monotonic(), fresh=True)
