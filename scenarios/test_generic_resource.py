"""Whether a task that has all of a node's generic resource is left alone when the node changes.

A node says that it has one GPU, a service reserves one, and its task runs there. Whatever makes the
managers look at that node again (a label, another leader) finds that all is as it should be.
"""

from __future__ import annotations

import pytest

from harness.faults import Faults
from harness.swarm import APP_IMAGE, Deployment, Resources, Service, Swarm, Workload
from harness.trial import Expectation, Measures

pytestmark = [
    pytest.mark.swarm(managers=1, workers=1),
    pytest.mark.upstream("moby/swarmkit#3162"),
    pytest.mark.thorough,
]

#: What tells a worker's dockerd that the node has one GPU.
GPU = "--node-generic-resource=gpu=1"

LOOKS = 3

#: Seconds between two changes of the node: a task that is thrown off comes back after its restart
#: delay of 5 s.
BETWEEN = 8.0

REPLACED = Expectation(
    "tasks that were replaced",
    unit="1",
    exactly=0,
    source="nothing has changed but a label that nobody asks for",
    control="test_control_redeployed",
)


@pytest.mark.known_bug("moby/swarmkit#3162", engines="<25.0", measures=[REPLACED])
def test_node_is_labelled(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A task that has the node's only GPU stays when the node gets a label."""
    made = deploy_on_gpu(swarm, faults)
    for look in range(LOOKS):
        swarm.set_labels(swarm.workers[0], {"look": str(look)})
        swarm.observe(BETWEEN, "whether the task is thrown off its node")
    measure(REPLACED, replaced(made))


@pytest.mark.control
def test_control_redeployed(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A task that somebody replaces is replaced."""
    made = deploy_on_gpu(swarm, faults)
    made.redeploy("app")
    made.time_to_updated("app", within=60)
    measure(REPLACED, replaced(made))


def deploy_on_gpu(swarm: Swarm, faults: Faults) -> Deployment:
    """Give the worker a GPU, and deploy a service that takes it."""
    faults.process.restart_dockerd(swarm.workers[0], [GPU]).inject()
    swarm.wait_for_ready(swarm.workers)
    app = Service("app", APP_IMAGE, reserve=Resources(generic={"gpu": 1}))
    return swarm.deploy(Workload("app", (), (app,)))


def replaced(made: Deployment) -> int:
    """Return how many tasks the service had beside its first."""
    return len(made.tasks("app")) - 1
