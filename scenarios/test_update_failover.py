"""What a leader's death costs a rolling update: whether it goes on, and one task at a time.

An update of four tasks replaces one after the other, so that three of four serve at any moment.
The leader's dockerd dies as soon as it has taken the update. The next leader has to carry it out;
nothing permits it to replace all tasks at once. Containers on the dead dockerd's node live on
under their shims.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.faults import Faults
from harness.probes.tasks import Tasks
from harness.swarm import APP_IMAGE, APP_PORT, Service, Swarm, Workload
from harness.trial import Expectation, Measures, Observation

pytestmark = [
    pytest.mark.swarm(managers=3, workers=1),
    pytest.mark.upstream("moby/moby#34894"),
    pytest.mark.thorough,
]

NODES = 4

THREE_TASKS = (
    "swarmkit: the next leader is elected after 10 to 20 ticks of 1 s, or after a second round, "
    "and waits for nodes to register again; then three tasks, one after the other, each 2 s before "
    "the stop, the stop, the start, 5 s of monitoring, and a minute for the one that will not stop "
    "(orchestrator/restart, defaultOldTaskTimeout)"
)

CARRIED_ON = Expectation(
    "time until the next leader has carried on the update",
    unit="s",
    at_most=180,
    source=THREE_TASKS,
    no_control="an update that nobody carries on starts no task, and the containers say so",
)
COMPLETED = Expectation(
    "time to the update's completion after the heal",
    unit="s",
    at_most=180,
    source=THREE_TASKS,
    no_control="it is the orchestrator's own word that its update is completed",
)
DOWN = Expectation(
    "most tasks down at once",
    unit="tasks",
    at_most=1,
    source="docker service update: --update-parallelism 1",
    control="test_control_all_at_once",
)
DOWN_GLOBAL = Observation("most tasks of a global service down at once", unit="tasks")


@pytest.mark.parametrize(
    ("kind", "down"),
    [
        pytest.param("replicated", DOWN, id="replicated"),
        pytest.param("global", DOWN_GLOBAL, id="global"),
    ],
)
def test_leader_dies_in_an_update(
    kind: str,
    down: Expectation | Observation,
    swarm: Swarm,
    faults: Faults,
    tasks: Tasks,
    measure: Measures,
) -> None:
    """The update is carried on by the next leader, and one task at a time if it is replicated.

    For a global service that is recorded only: as nodes register again with the new leader, the
    outdated task of each is replaced on its own, and how many coincide is a matter of milliseconds
    (docs/findings.md).
    """
    web = swarm.deploy(four_tasks(kind))
    web.change("app", one_at_a_time)
    leader = swarm.leader
    with tasks.watch(web):
        since = time.monotonic()
        web.redeploy("app")
        with faults.kill_dockerd(leader) as outage:
            carried_on = tasks.time_to_running(
                "app", NODES - 1, since=since, within=CARRIED_ON.limit, fresh=True
            )
            outage.hold(30.0)
            measure(CARRIED_ON, carried_on)
            measure(down, NODES - tasks.fewest_serving("app", since=outage))
        measure(COMPLETED, web.time_to_updated("app", within=COMPLETED.limit))


@pytest.mark.control
def test_control_all_at_once(swarm: Swarm, tasks: Tasks, measure: Measures) -> None:
    """An update that may replace all tasks at once takes all down at once."""
    web = swarm.deploy(four_tasks("replicated"))
    web.change("app", all_at_once)
    since = time.monotonic()
    tasks.running("app")
    web.redeploy("app")
    tasks.time_to_running("app", NODES, since=since, within=CARRIED_ON.limit, fresh=True)
    measure(DOWN, NODES - tasks.fewest_serving("app", since=tasks.at(since)))


def four_tasks(kind: str) -> Workload:
    """A service of four tasks: of four replicas, or one on every node."""
    replicas = NODES if kind == "replicated" else None
    app = Service("app", APP_IMAGE, ("web",), replicas=replicas, port=APP_PORT)
    return Workload("web", ("web",), (app,))


def one_at_a_time(spec: dict[str, Any]) -> None:
    """Swarm's default, but for a failed task, which does not pause the update."""
    spec["UpdateConfig"] = {"Parallelism": 1, "FailureAction": "continue"}


def all_at_once(spec: dict[str, Any]) -> None:
    """As many tasks at a time as there are."""
    spec["UpdateConfig"] = {"Parallelism": 0, "FailureAction": "continue"}
