"""Whether a published port is served by every node, whatever is done to its service.

Every node's port is asked four times a second by a new connection from outside. A port that
nobody serves is a service that is away; what must not be is a node that fails while others serve:
the lost ingress port of moby#33430. Where there is no routing mesh the ports are host-mode ones,
with a task on every node.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.faults import Faults
from harness.probes.logs import DockerdLogs
from harness.probes.published_ports import announced_ports, nodes_not_listening, port_taken
from harness.probes.reachability import Reachability, listening
from harness.swarm import (
    APP_IMAGE,
    APP_PORT,
    Deployment,
    RestartPolicy,
    Service,
    Swarm,
    Task,
    Workload,
)
from harness.trial import Expectation, Measures, Observation, Readings
from harness.wait import Elapsed, NotYet, expect_state, time_until

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("moby/moby#33430", "moby/moby#33195", "moby/moby#45089"),
]

FIRST, SECOND = 8080, 8081

A_START = "a start, and news of it to every node, on a slow machine"
AN_UPDATE = (
    "swarmkit: three tasks, one after the other, each 2 s before the stop, the stop, the start"
)
MONITORED = 5.0  # seconds that swarm watches an updated task before the update goes on
IN_TWENTY = "in 20 trials of four engines (docs/samples/engines.csv)"
A_FAILOVER = (
    "swarmkit: a leader is elected after 10 to 20 ticks of 1 s, or after a second round, and goes "
    "on with the update; the dispatcher gives the dead node up 27 to 33 s after the change"
)
FILTERED = "test_control_port_filtered"

NEW_PORT = Expectation(
    "time to the new port everywhere",
    unit="s",
    at_most=90,
    source=f"{AN_UPDATE}; 14 to 66 s {IN_TWENTY}",
    control=FILTERED,
)
OLD_PORT = Expectation(
    "time to the old port everywhere",
    unit="s",
    at_most=90,
    source=f"{AN_UPDATE}; 20 to 52 s {IN_TWENTY}",
    control=FILTERED,
)
UPDATED = Expectation(
    "time until the update to port {port} is completed",
    unit="s",
    at_most=NEW_PORT.limit + MONITORED,
    source="swarmkit: the last task is watched for 5 s once it serves",
    control="test_control_update_held",
)
REDEPLOYED = Expectation(
    "time until a redeployment after the heal is completed",
    unit="s",
    at_most=NEW_PORT.limit * 4 / 3 + MONITORED,
    source="as an update of the port, with four tasks for three",
    control="test_control_update_held",
)
GONE = Expectation(
    "time until the port is gone after scaling to 0",
    unit="s",
    at_most=12,
    source="2 s before the stop, the stop's grace of 3 s, and news of it to every node, on a slow "
    f"machine; 3.3 to 6 s {IN_TWENTY}",
    control=FILTERED,
)
SCALED_BACK = Expectation(
    "time to the port everywhere after scaling to 2",
    unit="s",
    at_most=30,
    source=A_START,
    control=FILTERED,
)
ALONE = Expectation(
    "longest time a node fails while another serves",
    unit="s",
    at_most=30,
    source="moby#33430: one node has lost the port, the others serve it; in an update of host-mode "
    "ports the last of three nodes follows the first after 20 s",
    control=FILTERED,
)
NOT_LISTENING = Expectation(
    "nodes whose dockerd does not hold the port at the end",
    unit="nodes",
    exactly=0,
    source="moby#33430: dockerd itself listens on each published port of its node",
    no_control="no fault closes a listener of dockerd; ports that nobody has are not listed",
)
AT_THE_OTHERS = Expectation(
    "time to the port at all other nodes", unit="s", at_most=30, source=A_START, control=FILTERED
)
ONCE_FREE = Expectation(
    "time to the port everywhere once it is free",
    unit="s",
    at_most=30,
    source=A_START,
    control=FILTERED,
)
RULES_RESTORED = Expectation(
    "time to the port everywhere after a restart",
    unit="s",
    at_most=60,
    source="dockerd is up again, its tasks started, the port programmed",
    control=FILTERED,
)
AT_THE_END = Expectation(
    "time to the port everywhere at the end",
    unit="s",
    at_most=30,
    source=A_START,
    control=FILTERED,
)
OUTAGE = Expectation(
    "longest outage of a node",
    unit="s",
    at_most=5,
    source="what one lost request and its time-out cost",
    control=FILTERED,
)
NEW_PORT_AT_THE_OTHERS = Expectation(
    "time to the new port at all other nodes",
    unit="s",
    at_most=120,
    source=A_FAILOVER,
    control=FILTERED,
)
NEW_PORT_AFTER_THE_HEAL = Expectation(
    "time to the new port everywhere after the heal",
    unit="s",
    at_most=120,
    source=A_FAILOVER,
    control=FILTERED,
)
MOVED = Expectation(
    "time until the worker serves the new port",
    unit="s",
    at_most=120,
    source=f"{A_FAILOVER}; swarmkit#1875: a change of a host-mode port replaces the tasks",
    control="test_control_update_held",
)
TAKEN_NODE_SERVES = Observation("taken node serves all the same", unit="1", better="none")
TAKEN_LINES = Observation("log lines that say the port is taken", unit="lines")
NOT_LISTENING_ONCE_FREE = Observation(
    "nodes whose dockerd does not hold the port once it is free", unit="nodes"
)
SERVES_WITHOUT_RULES = Observation(
    "node without rules serves all the same", unit="1", better="none"
)
ANNOUNCED = Observation("swarm lists the new port as published", unit="1", better="higher")
OLD_PORT_HELD = Observation("the node still holds the old port", unit="1")
TASK_REPLACED = Observation("the task is a new one", unit="1", better="higher")
UPDATE_COMPLETED = Observation("the update is completed", unit="1", better="higher")


def test_ports_change(swarm: Swarm, reachability: Reachability, measure: Measures) -> None:
    """A port is published, changed, taken away by scaling to 0, brought back, and changed back."""
    web = swarm.deploy(published(FIRST))
    with reachability.watch(web):
        measure.each(times_to_port(web, SECOND, reachability, NEW_PORT))
        web.scale("app", 0)
        measure(GONE, time_until_nobody_serves(reachability))
        since = time.monotonic()
        web.scale("app", 2)
        back = reachability.time_to_converged(since=since, within=SCALED_BACK.limit)
        measure(SCALED_BACK, back)
        measure.each(times_to_port(web, FIRST, reachability, OLD_PORT))
        measure(ALONE, reachability.longest_alone())
        lost = nodes_not_listening(swarm.all_but(), FIRST)
        measure(NOT_LISTENING, len(lost), note=", ".join(lost))


def test_port_taken_on_a_node(
    swarm: Swarm, reachability: Reachability, dockerd_logs: DockerdLogs, measure: Measures
) -> None:
    """A node whose port somebody else holds does not keep the others from serving it."""
    worker = swarm.a_worker()
    others = swarm.all_but(worker)
    with port_taken(worker, FIRST):
        since = time.monotonic()
        reachability.start(swarm.create(published(FIRST)))
        elsewhere = reachability.time_to_converged(
            since=since, within=AT_THE_OTHERS.limit, nodes=others
        )
        measure(AT_THE_OTHERS, elsewhere)
        swarm.observe(6.0, "requests and their time-outs while the port is taken")
        measure(TAKEN_NODE_SERVES, not reachability.wrong(nodes=[worker]))
    freed = time.monotonic()
    measure(ONCE_FREE, reachability.time_to_converged(since=freed, within=ONCE_FREE.limit))
    measure(TAKEN_LINES, dockerd_logs.count("port taken"))
    measure(ALONE, reachability.longest_alone(since=reachability.at(freed)))
    measure(NOT_LISTENING_ONCE_FREE, len(nodes_not_listening(swarm.all_but(), FIRST)))


@pytest.mark.control
def test_control_port_filtered(
    swarm: Swarm, faults: Faults, reachability: Reachability, measure: Measures
) -> None:
    """A worker whose port is filtered on the way fails while the others serve, at every wait.

    What is scaled down to a task and not to none is not gone.
    """
    web = swarm.deploy(published(FIRST))
    worker = swarm.a_worker()
    others = swarm.all_but(swarm.leader)
    waits = (SCALED_BACK, ONCE_FREE, AT_THE_END, RULES_RESTORED, NEW_PORT, OLD_PORT)
    with reachability.watch(web):
        with faults.network.cut(worker, plane=f"{FIRST}/tcp") as cut:
            for wait in (AT_THE_OTHERS, *waits, NEW_PORT_AT_THE_OTHERS, NEW_PORT_AFTER_THE_HEAL):
                nodes = others if wait in (AT_THE_OTHERS, NEW_PORT_AT_THE_OTHERS) else None
                measure(
                    wait,
                    reachability.time_to_converged(since=cut, within=wait.limit, nodes=nodes),
                )
        measure(OUTAGE, reachability.longest_outage())
        measure(ALONE, reachability.longest_alone())
        web.scale("app", 1)
        measure(GONE, time_until_nobody_serves(reachability))


@pytest.mark.thorough
@pytest.mark.upstream("moby/moby#50443", "moby/moby#33893")
def test_firewall_rules_lost(
    swarm: Swarm, faults: Faults, reachability: Reachability, measure: Measures
) -> None:
    """Rules that somebody flushes are back when dockerd is started again."""
    web = swarm.deploy(published(FIRST))
    worker = swarm.a_worker()
    with reachability.watch(web), faults.network.lose_firewall_rules(worker) as lost_rules:
        lost_rules.hold(5.0)
        measure(SERVES_WITHOUT_RULES, not reachability.wrong(nodes=[worker]))
        since = time.monotonic()
        worker.dockerd.stop()
        worker.start()
        restored = reachability.time_to_converged(since=since, within=RULES_RESTORED.limit)
        measure(RULES_RESTORED, restored)
        measure(ALONE, reachability.longest_alone())
        lost = nodes_not_listening(swarm.all_but(), FIRST)
        measure(NOT_LISTENING, len(lost), note=", ".join(lost))


@pytest.mark.thorough
def test_tasks_fail_beside(swarm: Swarm, reachability: Reachability, measure: Measures) -> None:
    """A service whose tasks fail over and over does not cost its neighbour a port."""
    web = swarm.deploy(published(FIRST))
    with reachability.watch(web):
        beside = swarm.create(failing_service())
        swarm.observe(30.0, "tasks fail beside a healthy service")
        beside.remove("failing")
        measure(AT_THE_END, reachability.time_to_converged(within=AT_THE_END.limit))
        measure(OUTAGE, reachability.longest_outage())
        measure(ALONE, reachability.longest_alone())
        lost = nodes_not_listening(swarm.all_but(), FIRST)
        measure(NOT_LISTENING, len(lost), note=", ".join(lost))


@pytest.mark.thorough
@pytest.mark.swarm(managers=3, workers=1)
def test_leader_dies_in_the_update(
    swarm: Swarm, faults: Faults, reachability: Reachability, measure: Measures
) -> None:
    """An update of the port that loses its leader half-way is carried out by the next one.

    The dead leader's own task fails by it; by swarm's default an update then pauses for an
    operator, so this one is told to go on. Half-way is when a first new task runs.
    """
    web = swarm.deploy(published(FIRST))
    web.change("app", continue_on_failure)
    leader, before = swarm.leader, web.tasks("app")
    others = swarm.all_but(leader)
    with reachability.watch(web):
        since = time.monotonic()
        web.publish("app", SECOND)
        wait_for_a_new_task(web, before)
        with faults.kill_dockerd(leader):
            elsewhere = reachability.time_to_converged(
                since=since, within=NEW_PORT_AT_THE_OTHERS.limit, nodes=others
            )
        measure(NEW_PORT_AT_THE_OTHERS, elsewhere)
        everywhere = reachability.time_to_converged(within=NEW_PORT_AFTER_THE_HEAL.limit)
        measure(NEW_PORT_AFTER_THE_HEAL, everywhere)
        healed = reachability.at(time.monotonic())
        web.redeploy("app")
        measure(REDEPLOYED, web.time_to_updated("app", within=REDEPLOYED.limit))
        measure(ALONE, reachability.longest_alone(since=healed))
        lost = nodes_not_listening(swarm.all_but(), SECOND)
        measure(NOT_LISTENING, len(lost), note=", ".join(lost))


@pytest.mark.thorough
@pytest.mark.swarm(managers=3, workers=1)
@pytest.mark.upstream("moby/moby#30199", "moby/swarmkit#1875", "moby/swarmkit#2143")
def test_leader_dies_on_the_answer(
    swarm: Swarm, faults: Faults, reachability: Reachability, measure: Measures
) -> None:
    """A host-mode port that a leader took and died with is carried out by the next leader.

    A manager answers when raft has the new spec. The leader's allocator then copies the port to
    where tasks take theirs, which is another write of raft's, and a leader may die between the
    two: a matter of milliseconds, and of luck.
    """
    alone = swarm.deploy(host_mode())
    leader, before = swarm.leader, alone.tasks("app")
    with reachability.watch(alone):
        alone.publish("app", SECOND)
        with faults.kill_dockerd(leader) as outage:
            moved = reachability.time_to_converged(since=outage, within=MOVED.limit)
            measure(MOVED, moved)
            measure(ANNOUNCED, announced_ports(alone, "app") == [SECOND])
            measure(OLD_PORT_HELD, FIRST in listening(swarm.a_worker()))
            measure(TASK_REPLACED, bool(new_tasks(alone, before)))
            measure(UPDATE_COMPLETED, alone.update_state("app")[0] == "completed")


@pytest.mark.control
@pytest.mark.thorough
@pytest.mark.swarm(managers=1, workers=1)
def test_control_update_held(swarm: Swarm, reachability: Reachability, measure: Measures) -> None:
    """A service whose new task may run nowhere keeps its old port, and the check says so."""
    alone = swarm.deploy(host_mode())
    alone.change("app", start_first_nowhere)
    with reachability.watch(alone):
        alone.publish("app", SECOND)
        since = time.monotonic()
        measure(MOVED, reachability.time_to_converged(since=since, within=MOVED.limit))
        updated = alone.time_to_updated("app", since=since, within=UPDATED.limit)
        measure.each({UPDATED: {str(SECOND): updated}})
        measure(REDEPLOYED, alone.time_to_updated("app", since=since, within=REDEPLOYED.limit))
        measure(ANNOUNCED, announced_ports(alone, "app") == [SECOND])
        measure(OLD_PORT_HELD, FIRST in listening(swarm.a_worker()))


def published(port: int) -> Workload:
    """A service that says who answers, behind a published port."""
    app = Service("app", APP_IMAGE, ("web",), replicas=2, port=APP_PORT, published=port)
    return Workload("web", ("web",), (app,), entry="app")


def host_mode() -> Workload:
    """A service of one task on a worker, behind a host-mode port."""
    app = Service(
        "app",
        APP_IMAGE,
        (),
        port=APP_PORT,
        published=FIRST,
        publish_mode="host",
        role="worker",
    )
    return Workload("alone", (), (app,), entry="app")


def failing_service() -> Workload:
    """A service with a published port of its own, whose tasks fail as soon as they run."""
    failing = Service(
        "failing",
        APP_IMAGE,
        ("other",),
        replicas=2,
        port=APP_PORT,
        published=SECOND,
        command=("/usr/bin/python3", "-I", "-S", "-c", "raise SystemExit(1)"),
        restart=RestartPolicy(delay=1.0),
    )
    return Workload("other", ("other",), (failing,))


def continue_on_failure(spec: dict[str, Any]) -> None:
    """An update does not pause when one of its tasks fails."""
    spec["UpdateConfig"] = {**(spec.get("UpdateConfig") or {}), "FailureAction": "continue"}
    spec["UpdateConfig"].setdefault("Parallelism", 1)


def start_first_nowhere(spec: dict[str, Any]) -> None:
    """A new task may run on no node, and the old one stays until it does."""
    spec["UpdateConfig"] = {"Parallelism": 1, "Order": "start-first"}
    spec["TaskTemplate"]["Placement"] = {"Constraints": ["node.labels.nowhere==true"]}


def times_to_port(
    web: Deployment, port: int, reachability: Reachability, everywhere: Expectation
) -> Readings:
    """Publish the service by another port; how long until every node serves it, and it is over."""
    since = time.monotonic()
    web.publish("app", port)
    return {
        everywhere: reachability.time_to_converged(since=since, within=everywhere.limit),
        UPDATED: {str(port): web.time_to_updated("app", since=since, within=UPDATED.limit)},
    }


def time_until_nobody_serves(reachability: Reachability) -> Elapsed:
    """How long until no node serves the port."""
    began = time.monotonic()

    def gone() -> NotYet | bool:
        last = reachability.matrix(since=reachability.at(began))
        serving = [str(cell.target) for cell, attempt in last.items() if attempt.outcome == "ok"]
        if serving or not last:
            return NotYet(f"{', '.join(serving)} still serve")
        return True

    return time_until(gone, state="the port to be gone", within=GONE.limit, since=began)


def new_tasks(web: Deployment, before: list[Task]) -> list[Task]:
    """The tasks that run and were not there before."""
    known = {task.id for task in before}
    return [task for task in web.tasks("app") if task.running and task.id not in known]


def wait_for_a_new_task(web: Deployment, before: list[Task]) -> None:
    """Wait until an update has started a first task."""
    expect_state(
        lambda: bool(new_tasks(web, before)) or NotYet("no new task runs"),
        state="a new task to run",
        within=NEW_PORT.limit,
    )
