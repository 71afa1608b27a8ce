"""Whether a published port is served by every node, whatever is done to its service.

Every node's port is asked four times a second by a new connection from outside. A port that
nobody serves is a service that is away; what must not be is a node that fails while others serve:
the lost ingress port of moby#33430. Where there is no routing mesh the ports are host-mode ones,
with a task on every node.
"""

from __future__ import annotations

import socket
import time

import pytest

from harness.probes.reachability import listening
from harness.swarm import APP_IMAGE, APP_PORT, Service, Workload
from harness.wait import NotYet, wait_for

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("moby/moby#33430", "moby/moby#33195", "moby/moby#45089"),
]

# "Any node fails for more than 30 s while another one serves": what the reports have in common.
# Tasks with host-mode ports are replaced one after the other, each in 2 s before the stop, the
# stop, the start, and 5 s of monitoring: the last of three nodes follows the first after 20 s.
ALONE = 30.0

# A start, and news to every node, on a slow machine.
SERVED = 30.0

# Three tasks, one after the other.
UPDATED = 90.0

# dockerd up again, its tasks started, the port programmed.
RESTARTED = 60.0

# A leader is elected after 10 to 20 ticks of 1 s, or after a second round, and goes on with the
# update; the dispatcher gives the dead node up 27 to 33 s after the change (swarmkit).
FAILED_OVER = 120.0

# How long a node's port is held by somebody else while the others serve: some requests and their
# time-outs.
TAKEN = 6.0

# How long tasks fail beside a healthy service.
OBSERVED = 30.0

# What one lost request and its time-out cost.
HICCUP = 5.0

FIRST, SECOND = 8080, 8081

LONE = "longest time a node fails while another serves"
MOVED = "time until the worker serves the new port"
LISTENING = "nodes whose dockerd does not hold the port at the end"


def test_ports_change(swarm, reachability, measure):
    """A port is published, changed, taken away by scaling to 0, brought back, and changed back."""
    web = swarm.deploy(published(FIRST))
    with reachability.watch(web):
        since = time.monotonic()
        web.publish("app", SECOND)
        changed = reachability.time_to_converged(within=UPDATED, since=since)
        web.time_to_updated("app", within=UPDATED)
        web.scale("app", 0)
        gone = wait_until_gone(reachability)
        since = time.monotonic()
        web.scale("app", 2)
        back = reachability.time_to_converged(within=SERVED, since=since)
        since = time.monotonic()
        web.publish("app", FIRST)
        again = reachability.time_to_converged(within=UPDATED, since=since)
        web.time_to_updated("app", within=UPDATED)
        measure("time to the new port everywhere", changed, unit="s").below(UPDATED - 1)
        measure("time until the port is gone after scaling to 0", gone, unit="s")
        measure("time to the port everywhere after scaling to 2", back, unit="s").below(SERVED - 1)
        measure("time to the old port everywhere", again, unit="s").below(UPDATED - 1)
        put_on_record(measure, reachability, swarm, FIRST)


def test_port_taken_on_a_node(swarm, reachability, dockerd_logs, measure):
    """A node whose port somebody else holds does not keep the others from serving it."""
    worker = swarm.a_worker()
    others = swarm.all_but(worker)
    holder = worker.network.call(lambda: socket.create_server(("0.0.0.0", FIRST)))
    with holder:
        since = time.monotonic()
        web = swarm.create(published(FIRST))
        reachability.start(web)
        elsewhere = reachability.time_to_converged(within=SERVED, since=since, nodes=others)
        time.sleep(TAKEN)
        held = reachability.wrong(nodes=[worker])
    freed = time.monotonic()
    whole = reachability.time_to_converged(within=SERVED, since=freed)
    measure("time to the port at all other nodes", elsewhere, unit="s").below(SERVED - 1)
    measure("taken node serves all the same", not held, unit="1", better="none")
    measure("time to the port everywhere once it is free", whole, unit="s").below(SERVED - 1)
    measure("lines that say the port is taken", dockerd_logs.count("port taken"), unit="lines")
    alone = reachability.longest_alone(since=reachability.at(freed))
    measure(LONE, alone, unit="s").below(ALONE)
    measure(LISTENING, len(not_listening(swarm, FIRST)), unit="nodes")


@pytest.mark.control(LONE)
def test_control_port_filtered(swarm, faults, reachability, measure):
    """A worker whose port is filtered on the way fails while the others serve."""
    web = swarm.deploy(published(FIRST))
    with reachability.watch(web):
        with faults.network.cut(swarm.a_worker(), plane=f"{FIRST}/tcp") as cut:
            cut.hold(ALONE + 2 * HICCUP)
        put_on_record(measure, reachability, swarm, FIRST)


@pytest.mark.thorough
@pytest.mark.upstream("moby/moby#50443", "moby/moby#33893")
def test_firewall_rules_lost(swarm, faults, reachability, measure):
    """Rules that somebody flushes are back when dockerd is started again."""
    web = swarm.deploy(published(FIRST))
    worker = swarm.a_worker()
    with reachability.watch(web), faults.network.lose_firewall_rules(worker) as lost:
        lost.hold(HICCUP)
        meanwhile = reachability.wrong(nodes=[worker])
        since = time.monotonic()
        worker.dockerd.stop()
        worker.start()
        whole = reachability.time_to_converged(within=RESTARTED, since=since)
        measure("node without rules serves all the same", not meanwhile, unit="1", better="none")
        measure("time to the port everywhere after a restart", whole, unit="s").below(RESTARTED - 1)
        put_on_record(measure, reachability, swarm, FIRST)


@pytest.mark.thorough
def test_tasks_fail_beside(swarm, reachability, measure):
    """A service whose tasks fail over and over does not cost its neighbour a port."""
    web = swarm.deploy(published(FIRST))
    failing = Service(
        "failing",
        APP_IMAGE,
        ("other",),
        replicas=2,
        port=APP_PORT,
        published=SECOND,
        command=("/usr/bin/python3", "-I", "-S", "-c", "raise SystemExit(1)"),
        restart_delay=1.0,
    )
    with reachability.watch(web):
        beside = swarm.create(Workload("other", ("other",), (failing,)))
        time.sleep(OBSERVED)
        beside.remove("failing")
        whole = reachability.time_to_converged(within=SERVED, since=time.monotonic())
        longest = reachability.longest_outage()
        measure("time to the port everywhere at the end", whole, unit="s").below(SERVED - 1)
        measure("longest outage of a node", longest, unit="s").below(HICCUP)
        put_on_record(measure, reachability, swarm, FIRST)


@pytest.mark.thorough
@pytest.mark.swarm(managers=3, workers=1)
def test_leader_dies_in_the_update(swarm, faults, reachability, measure):
    """An update of the port that loses its leader half-way is carried out by the next one.

    The dead leader's own task fails by it; as swarm stands by itself an update then pauses for an
    operator, so this one is told to go on. Half-way is when a first new task runs.
    """
    web = swarm.deploy(published(FIRST))
    web.change("app", on_failure_go_on)
    leader = swarm.leader
    before = {task.id for task in web.tasks("app")}
    with reachability.watch(web):
        since = time.monotonic()
        web.publish("app", SECOND)
        wait_for(lambda: renewed(web, before), state="a new task to run", within=UPDATED)
        with faults.kill_dockerd(leader):
            others = swarm.all_but(leader)
            elsewhere = reachability.time_to_converged(
                within=FAILED_OVER, since=since, nodes=others
            )
        whole = reachability.time_to_converged(within=FAILED_OVER, since=time.monotonic())
        healed = reachability.at(time.monotonic())
        web.redeploy("app")
        web.time_to_updated("app", within=UPDATED)
        measure("time to the new port at all other nodes", elsewhere, unit="s").below(
            FAILED_OVER - 1
        )
        measure("time to the new port everywhere after the heal", whole, unit="s").below(
            FAILED_OVER - 1
        )
        put_on_record(measure, reachability, swarm, SECOND, since=healed)


@pytest.mark.thorough
@pytest.mark.swarm(managers=3, workers=1)
@pytest.mark.upstream("moby/moby#30199", "moby/swarmkit#1875", "moby/swarmkit#2143")
def test_leader_dies_on_the_answer(swarm, faults, reachability, measure):
    """A host-mode port that a leader took and died with is carried out by the next leader.

    A manager answers when raft has the new spec. The leader's allocator then copies the port to
    where tasks take theirs, which is another write of raft's, and a leader may die between the
    two: a matter of milliseconds, and of luck.
    """
    alone = swarm.deploy(host_mode())
    leader = swarm.leader
    before = {task.id for task in alone.tasks("app")}
    with reachability.watch(alone):
        alone.publish("app", SECOND)
        with faults.kill_dockerd(leader) as outage:
            put_on_record_moved(measure, reachability, alone, since=outage.injected_at)
            state, _ = alone.update_state("app")
            measure("the task is a new one", renewed(alone, before) is True, unit="1")
            measure("the update is completed", state == "completed", unit="1")


@pytest.mark.control(MOVED)
@pytest.mark.thorough
@pytest.mark.swarm(managers=1, workers=1)
def test_control_update_held(swarm, reachability, measure):
    """A service whose new task may run nowhere keeps its old port, and the check says so."""
    alone = swarm.deploy(host_mode())
    alone.change("app", start_first_nowhere)
    with reachability.watch(alone):
        alone.publish("app", SECOND)
        put_on_record_moved(measure, reachability, alone, since=time.monotonic())


def on_failure_go_on(spec):
    """An update does not pause when one of its tasks fails."""
    spec["UpdateConfig"] = {**(spec.get("UpdateConfig") or {}), "FailureAction": "continue"}
    spec["UpdateConfig"].setdefault("Parallelism", 1)


def renewed(made, before):
    """Whether a task runs that was not there before."""
    new = [task for task in made.tasks("app") if task.running and task.id not in before]
    return bool(new) or NotYet("no new task runs")


def published(port):
    """A service that says who answers, behind a published port."""
    app = Service("app", APP_IMAGE, ("web",), replicas=2, port=APP_PORT, published=port)
    return Workload("web", ("web",), (app,), entry="app")


def host_mode():
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


def start_first_nowhere(spec):
    """A new task may run on no node, and the old one stays until it does."""
    spec["UpdateConfig"] = {"Parallelism": 1, "Order": "start-first"}
    spec["TaskTemplate"]["Placement"] = {"Constraints": ["node.labels.nowhere==true"]}


def put_on_record_moved(measure, reachability, made, since):
    """How long until the new port is served, and what the swarm and the node say of it."""
    moved = reachability.time_to_converged(within=FAILED_OVER, since=since)
    measure(MOVED, moved, unit="s").below(
        FAILED_OVER - 1, source="swarmkit#1875: a change of a host-mode port replaces the tasks"
    )
    found = made.swarm.ask(lambda api: api.api.inspect_service(made.services["app"]))
    said = [port["PublishedPort"] for port in found["Endpoint"]["Ports"]]
    measure("swarm says that it is published there", said == [SECOND], unit="1")
    kept = FIRST in listening(made.swarm.a_worker())
    measure("the node holds the old port", kept, unit="1", better="lower")


def wait_until_gone(reachability):
    """How long until no node serves the port."""
    began = time.monotonic()

    def gone():
        last = reachability.matrix(since=reachability.at(began))
        serving = [str(cell.target) for cell, attempt in last.items() if attempt.outcome == "ok"]
        if serving or not last:
            return NotYet(f"{', '.join(serving)} still serve")
        return True

    wait_for(gone, state="the port to be gone", within=SERVED)
    return time.monotonic() - began


def put_on_record(measure, reachability, swarm, port, since=0.0):
    """The measures of all cases."""
    measure(LONE, reachability.longest_alone(since=since), unit="s").below(
        ALONE, source="moby#33430: one node has lost the port, the others serve it"
    )
    lost = not_listening(swarm, port)
    measure(LISTENING, len(lost), unit="nodes", note=", ".join(lost)).equals(0)


def not_listening(swarm, port):
    """The nodes whose dockerd does not hold a port open."""
    return [node.name for node in swarm.all_but() if port not in listening(node)]
