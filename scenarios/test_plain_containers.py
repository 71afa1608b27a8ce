"""Whether a plain container on an attachable network comes back after its node was away.

Such containers (`docker run --restart=always --network=web`) are no tasks: their node's dockerd
starts them again by itself, and each start needs a manager that attaches them. The worker has
nothing else on that network, as in the reports, so the network leaves the node with its container.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.faults import Faults
from harness.load import PlainContainer, run_plain
from harness.swarm import APP_IMAGE, Service, Swarm, Workload
from harness.trial import Expectation, Measures

pytestmark = [
    pytest.mark.swarm(managers=1, workers=1),
    pytest.mark.upstream("distribution/distribution#3301", "moby/moby#40402", "moby/moby#32607"),
]

BACK = Expectation(
    "time until the container runs again",
    unit="s",
    at_most=60,
    source="moby: dockerd waits up to 20 s for the swarm to attach it; a start that failed is "
    "tried again by the restart policy, after twice the pause each time, from 0.1 s on; a worker "
    "has its session within 8 s of its start",
    control="test_control_no_manager",
)
RESTARTED = Expectation(
    "restarts that were refused",
    unit="1",
    exactly=0,
    source="a manager can be asked, so the network is there",
    control="test_control_no_manager",
)


def test_restarted(swarm: Swarm, measure: Measures) -> None:
    """`docker restart` of the only container that its node has on the network."""
    with plain(swarm) as container:
        since = time.monotonic()
        refused = container.restart()
        measure(RESTARTED, bool(refused), note=refused)
        measure(BACK, container.time_to_running(within=BACK.limit, since=since))


@pytest.mark.parametrize("how", ["dockerd-restarted", "host-rebooted"])
def test_away(how: str, swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """Its dockerd is restarted, or its whole host: the policy says that it runs again."""
    with plain(swarm) as container:
        node = container.node
        fault = (
            faults.process.restart_dockerd(node)
            if how == "dockerd-restarted"
            else faults.host.reboot(node, off=5.0)
        )
        with fault as away:
            measure(BACK, container.time_to_running(within=BACK.limit, since=away))


@pytest.mark.control
def test_control_no_manager(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """While no manager can be reached nobody attaches it: it cannot be started."""
    with plain(swarm) as container, faults.kill_dockerd(swarm.leader):
        refused = container.restart()
        measure(RESTARTED, bool(refused), note=refused)
        measure(BACK, container.time_to_running(within=BACK.limit))


@contextmanager
def plain(swarm: Swarm) -> Iterator[PlainContainer]:
    """Run a plain container on a worker, alone in its network there."""
    alone = Service("app", APP_IMAGE, ("web",), role="manager")
    web = swarm.deploy(Workload("web", ("web",), (alone,)))
    yield run_plain(swarm.a_worker(), web.networks["web"])
