"""Whether a service's spec can end the daemon that runs its task.

A health check is a list: the word CMD, and then a command. The API takes one with the bare word and
no command. The node that gets the task then looks for what is not there, in a goroutine that
nothing guards, and dockerd ends with all that it was doing for others; swarm starts the task on the
next node. Refusing such a spec is right, and so is failing the task. A spec must never end a
daemon.

An update that leaves out the object that holds a service's constraints means that it has none any
more. The leader compares the two and reads through a pointer that is nil; so does the next leader,
for the update is in raft's log.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from harness.errors import SwarmError
from harness.faults import Faults
from harness.swarm import APP_IMAGE, Service, Swarm, Workload
from harness.trial import Expectation, Measures, oracles

pytestmark = [
    pytest.mark.swarm(managers=1, workers=1),
    pytest.mark.upstream("moby/moby#52330"),
]

# Seconds between two runs of a health check, and how long the swarm is watched: the old task takes
# up to 3 s to stop, the new one some seconds to start on a slow machine, and then comes the check.
INTERVAL = 2
WATCHED = 25.0

ANSWERING = Expectation(
    "workers whose dockerd answers after the update",
    unit="1",
    exactly=1,
    source="there is one, and nobody ended it",
    control="test_control_dockerd_killed",
)
MANAGERS = Expectation(
    "managers whose dockerd answers after the update",
    unit="1",
    exactly=3,
    source="there are three, and nobody ended one",
    control="test_control_leader_killed",
)
RESTARTED = Expectation(
    "times that the worker's host started dockerd again",
    unit="1",
    exactly=0,
    source="a unit starts what died, and a spec must never end a daemon",
    no_control="a host starts only what died unasked, and no fault is unasked; an integration test "
    "kills one behind the harness's back",
)


#: What cannot come to rest.
WORKER_ENDS = "the only worker ends again and again, and the update waits for it"


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(
            ["CMD"],
            id="without-a-command",
            marks=pytest.mark.known_bug(
                "moby/moby#52330",
                engines="<29.5",
                # the update waits for a node that could run its task: the only worker is dead
                measures=[ANSWERING, oracles.DIED, oracles.PANICKED, oracles.UPDATES],
            ),
        ),
        pytest.param(["CMD", "no-such-program"], id="of-an-unknown-command"),
    ],
)
def test_health_check(check: list[str], swarm: Swarm, measure: Measures) -> None:
    """A health check that cannot be carried out costs the task, and not the daemon."""
    give_health_check(swarm, check)
    swarm.observe(WATCHED, "whether the worker's dockerd lives")
    measure(ANSWERING, answering(swarm))


@pytest.mark.known_bug(
    "moby/moby#52330", engines="<29.5", measures=[RESTARTED, oracles.DIED, oracles.PANICKED]
)
@pytest.mark.without_oracle(oracles.UPDATES, reason=WORKER_ENDS)
@pytest.mark.without_oracle(oracles.MEMBERS, reason=WORKER_ENDS)
@pytest.mark.without_oracle(oracles.ABSENT, reason=WORKER_ENDS)
@pytest.mark.thorough
def test_crash_loop(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """On a host that restarts dockerd, the spec ends it again and again."""
    with faults.host.supervise(swarm.workers) as host:
        give_health_check(swarm, ["CMD"])
        swarm.observe(2 * WATCHED, "how often the worker's host starts dockerd again")
    measure(RESTARTED, host.restarts())


@pytest.mark.swarm(managers=3)
@pytest.mark.upstream("moby/swarmkit#2947", "moby/moby#37883")
@pytest.mark.known_bug(
    "moby/swarmkit#2947",
    engines="<29.7",
    measures=[MANAGERS, oracles.DIED, oracles.PANICKED, oracles.WRITES],
)
@pytest.mark.thorough
def test_update_without_placement(swarm: Swarm, measure: Measures) -> None:
    """An update that leaves the placement out takes the constraints away, and no manager."""
    app = Service("app", APP_IMAGE, replicas=1, role="manager")
    deployment = swarm.deploy(Workload("app", (), (app,)))
    deployment.redeploy("app")  # else more than the placement differs
    deployment.time_to_updated("app", within=60)
    with suppress(SwarmError):
        deployment.change("app", lambda spec: spec["TaskTemplate"].pop("Placement"))
    swarm.observe(WATCHED, "whether the managers' dockerds live")
    measure(MANAGERS, managers_answering(swarm))


@pytest.mark.control
@pytest.mark.swarm(managers=3)
def test_control_leader_killed(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A leader whose dockerd was killed does not answer."""
    with faults.kill_dockerd(swarm.leader):
        measure(MANAGERS, managers_answering(swarm))


@pytest.mark.control
def test_control_dockerd_killed(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A worker whose dockerd was killed does not answer; asked for, this is no death."""
    with faults.kill_dockerd(swarm.workers[0]):
        measure(ANSWERING, answering(swarm))


def give_health_check(swarm: Swarm, check: list[str]) -> None:
    """Deploy a service on the worker, and give it a health check."""
    app = Service("app", APP_IMAGE, (), replicas=1, role="worker")
    deployment = swarm.deploy(Workload("app", (), (app,)))

    def edit(spec: dict[str, Any]) -> None:
        second = 1_000_000_000  # the API counts nanoseconds
        spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = {
            "Test": check,
            "Interval": INTERVAL * second,
            "Timeout": second,
            "Retries": 3,
        }

    with suppress(SwarmError):  # to refuse it is right, too
        deployment.change("app", edit)


def answering(swarm: Swarm) -> int:
    """Return how many workers' APIs answer."""
    return sum(node.dockerd.ping() for node in swarm.workers)


def managers_answering(swarm: Swarm) -> int:
    """Return how many planned managers answer: without a majority nobody can list them."""
    planned = [node for node in swarm.lab.nodes.values() if node.planned_role == "manager"]
    return sum(node.dockerd.ping() for node in planned)
