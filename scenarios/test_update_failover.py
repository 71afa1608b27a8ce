"""What a leader's death costs a rolling update: whether it goes on, and one task at a time.

An update of four tasks replaces one after the other, so that three of four serve at any moment.
The leader's dockerd dies as soon as it has taken the update. The next leader has to carry it out;
nothing gives it leave to replace all tasks at once. Containers on the dead dockerd's node live on
under their shims.
"""

from __future__ import annotations

import time

import pytest

from harness.swarm import APP_IMAGE, APP_PORT, Service, Workload

pytestmark = [
    pytest.mark.swarm(managers=3, workers=1),
    pytest.mark.upstream("moby/moby#34894"),
    pytest.mark.thorough,
]

# The next leader is elected after 10 to 20 ticks of 1 s, or after a second round; it waits for
# nodes to register again; then three tasks, one after the other, each in 2 s before the stop, the
# stop, the start, and 5 s of monitoring, and a minute for the one that will not stop
# (swarmkit orchestrator/restart, defaultOldTaskTimeout).
CARRIED_ON = 180.0

NODES = 4

AWAY = "most tasks away at once"


@pytest.mark.parametrize("kind", ["replicated", "global"])
def test_leader_dies_in_an_update(kind, swarm, faults, tasks, measure):
    """The update is carried on by the next leader, and one task at a time if it is replicated.

    For a global service that is on record only: as nodes register again with the new leader, the
    outdated task of each is replaced on its own, and how many meet is a matter of milliseconds
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
                "app", NODES - 1, since=since, within=CARRIED_ON, fresh=True
            )
            outage.hold(30.0)
            fewest = tasks.fewest_serving("app", since=outage.began)
        whole = web.time_to_updated("app", within=CARRIED_ON)
        measure("update carried on by the next leader", carried_on, unit="s").below(CARRIED_ON - 1)
        put_on_record(measure, fewest, bound=kind == "replicated")
        measure("update completed after the heal", whole, unit="s").below(CARRIED_ON - 1)


@pytest.mark.control(AWAY)
def test_control_all_at_once(swarm, tasks, measure):
    """An update that may replace all tasks at once takes all away at once."""
    web = swarm.deploy(four_tasks("replicated"))
    web.change("app", all_at_once)
    since = time.monotonic()
    tasks.running("app")
    web.redeploy("app")
    tasks.time_to_running("app", NODES, since=since, within=CARRIED_ON, fresh=True)
    put_on_record(measure, tasks.fewest_serving("app", since=tasks.at(since)))


def four_tasks(kind):
    """A service of four tasks: of four replicas, or one on every node."""
    replicas = NODES if kind == "replicated" else None
    app = Service("app", APP_IMAGE, ("web",), replicas=replicas, port=APP_PORT)
    return Workload("web", ("web",), (app,))


def one_at_a_time(spec):
    """Swarm's default, but for a failed task, which does not pause the update."""
    spec["UpdateConfig"] = {"Parallelism": 1, "FailureAction": "continue"}


def all_at_once(spec):
    """As many tasks at a time as there are."""
    spec["UpdateConfig"] = {"Parallelism": 0, "FailureAction": "continue"}


def put_on_record(measure, fewest, *, bound=True):
    """What the check is about."""
    away = measure(AWAY, NODES - fewest, unit="tasks")
    if bound:
        away.below(1, source="docker service update: --update-parallelism 1")
