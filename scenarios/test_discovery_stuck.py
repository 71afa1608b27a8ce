"""Whether names stay true while tasks come and go.

On every node a container asks the embedded DNS for the service and for its tasks ten times a
second, and IPVS is read where there is IPVS. What they give is held against the containers that
run: how long a dead address is still given, how long a live one is missing. One manager, two
workers, as in the maintainers' own recipe (moby#50551).

That swarm takes a task out of service and waits for 2 s before it stops it is as it should be
(moby executor, defaultGossipConvergeDelay), and is not counted.
"""

from __future__ import annotations

import time
from contextlib import nullcontext

import pytest

from harness.swarm import APP_IMAGE, APP_PORT, Service, Workload
from harness.wait import NotYet, wait_for

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("moby/moby#30134", "moby/moby#33589", "moby/moby#47728"),
]

# News goes to 3 nodes every 200 ms (memberlist, LAN), so that three nodes have it at once; the
# rest is for a slow machine. A node that has died is held for alive longer than that: it takes a
# probe of 1 s, its time-out of 0.5 s and 4 s of suspicion.
TOLD = 4.0

# What gossip has lost comes with the next bulk synchronisation: every 30 s, and 30 s for its answer
# (networkdb; moby#47728 and moby#30134 are about what stays longer).
SYNCED = 60.0

# Task after task, twice: 2 s before the stop, the stop, the start, 5 s of monitoring.
TASKS = 2
UPDATED = 90.0

# Tasks that end by themselves: how long each lives, and how long that is watched.
LIVES = 5.0
OBSERVED = 30.0

# Without the network that carries gossip, a node gives the others up after 4.5 to 8 s; after that
# their addresses are missing for as long as the cut lasts.
CUT = 20.0

STALE = "longest time a dead address is given"
MISSING = "longest time a live address is missing"
WHOLE = "time until all names are true after the last change"
LEFT = "dead addresses given at the end"

NETWORKS = [
    "quiet",
    pytest.param("jitter", marks=[pytest.mark.needs("netem"), pytest.mark.thorough]),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_redeployed(network, swarm, faults, discovery, tasks, measure):
    """Through a rolling update and a forced redeploy, names follow the tasks that run."""
    web = swarm.deploy(some_tasks())
    with impaired(network, swarm, faults), discovery.watch(web):
        updated = update_twice(web)
        whole = discovery.time_to_converged(since=time.monotonic(), within=SYNCED)
        measure("update and redeploy carried out", updated, unit="s").below(UPDATED - 1)
        put_on_record(measure, discovery, whole, TOLD if network == "quiet" else SYNCED)
        measure("tasks replaced", len(tasks.lives("app")) - TASKS, unit="tasks").equals(2 * TASKS)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "network", ["quiet", pytest.param("jitter", marks=pytest.mark.needs("netem"))]
)
def test_tasks_flap(network, swarm, faults, discovery, tasks, measure):
    """Tasks that die every few seconds leave no dead address behind, nor does their removal."""
    command = ("/usr/bin/python3", "-I", "-S", "-c", f"import time; time.sleep({LIVES:g})")
    flapping = Service(
        "app", APP_IMAGE, ("web",), replicas=None, role="worker", command=command, restart_delay=1.0
    )
    web = swarm.create(Workload("web", ("web",), (flapping,)))
    with impaired(network, swarm, faults), discovery.watch(web):
        time.sleep(OBSERVED)
        died = [life for life in tasks.lives("app") if life.ended is not None]
        most = discovery.most_stale()
        web.remove("app")
        wait_for(
            lambda: NotYet(f"{len(left)} run") if (left := tasks.running("app")) else True,
            state="all tasks of app to end",
            within=60.0,
        )
        whole = discovery.time_to_converged(since=time.monotonic(), within=SYNCED)
        put_on_record(measure, discovery, whole, SYNCED)
        measure("tasks that died", len(died), unit="tasks", better="none").above(
            4, source="two nodes; a task lives for 5 s and is started again in less than 10 s"
        )
        measure("most dead addresses given at once", most, unit="addresses")


@pytest.mark.control(MISSING)
def test_control_gossip_cut(swarm, faults, discovery, measure):
    """A worker that hears no gossip misses the addresses of all others."""
    web = swarm.deploy(some_tasks())
    worker = swarm.a_worker()
    with discovery.watch(web):
        with faults.network.isolate(worker, plane="gossip") as cut:
            web.redeploy("app")
            cut.hold(CUT)
        web.time_to_updated("app", within=UPDATED)
        whole = discovery.time_to_converged(since=time.monotonic(), within=SYNCED)
        put_on_record(measure, discovery, whole, TOLD)


@pytest.mark.control(STALE)
def test_control_node_killed(swarm, faults, discovery, measure):
    """A node that dies without a word leaves its addresses behind until gossip gives it up."""
    web = swarm.deploy(some_tasks())
    worker = next(node for node in swarm.workers if any(t.node == node.name for t in web.tasks()))
    with discovery.watch(web):
        with faults.kill_node(worker) as outage:
            others = swarm.all_but(worker)
            whole = discovery.time_to_converged(
                since=outage.injected_at, within=SYNCED, nodes=others
            )
        put_on_record(measure, discovery, whole, TOLD)


def some_tasks():
    """A service on a network of its own."""
    return Workload("web", ("web",), (Service("app", APP_IMAGE, ("web",), TASKS, APP_PORT),))


def impaired(network, swarm, faults):
    """Workers behind a network of delay, jitter and loss, as in the maintainers' recipe."""
    if network == "quiet":
        return nullcontext()
    return faults.network.impair(swarm.workers, delay=0.1, jitter=0.2, loss=0.01)


def update_twice(web):
    """A rolling update by a changed variable, then a forced redeploy; the time of both."""
    since = time.monotonic()

    def edit(spec):
        spec["TaskTemplate"]["ContainerSpec"]["Env"].append("UPDATED=1")

    web.change("app", edit)
    web.time_to_updated("app", within=UPDATED, since=since)
    web.redeploy("app")
    return web.time_to_updated("app", within=UPDATED, since=since)


def put_on_record(measure, discovery, whole, limit):
    """The measures of all cases. What was still wrong at the end is as long as it was watched."""
    measure(STALE, discovery.longest_stale(), unit="s").below(
        limit, source="memberlist: news every 200 ms to 3 nodes; networkdb: bulk sync every 30 s"
    )
    measure(MISSING, discovery.longest_missing(), unit="s").below(limit)
    measure(WHOLE, whole, unit="s").below(min(limit, SYNCED - 1))
    left = [found for found in discovery.stale() if found.stretch.open]
    measure(LEFT, len(left), unit="addresses").equals(0)
