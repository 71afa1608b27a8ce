"""Whether a service on two overlay networks is whole on both, whatever is done to either.

A balancer on two networks with a backend of its own on each, and one service on both. That
service leaves one network and joins it again, by a leader that was elected meanwhile; thorough
cases restart all managers. On two nodes (the leader that dies, a worker) and in each network
its name, its tasks' names and its tasks are asked for. What must not be is a failure confined to
one network, nor an address, a VXLAN id or a piece of the pool that was given out twice.
"""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from harness.lab import Node
from harness.probes.ipam import allocation
from harness.swarm import APP_IMAGE, APP_PORT, BALANCER_IMAGE, BALANCER_PORT, Service, Workload
from harness.wait import Elapsed

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.upstream(
        "moby/moby#32629",
        "moby/moby#33789",
        "moby/swarmkit#1773",
        "moby/swarmkit#2571",
    ),
]

# Each network's tables are brought into step with one member every 30 s, and the answer may take
# as long (networkdb: bulk synchronisation); a node that was away is back after a second.
SYNCED = 60.0
SOURCE = "networkdb: reconnect after 1 s, bulk synchronisation of each network every 30 s"

# News of all networks travel in the same packets, every 200 ms; what was lost of one network's
# comes with that network's own bulk synchronisation.
ONE_ONLY = 30.0

# Two tasks at once: 2 s before the stop, the stop, the start, a second of monitoring; before
# that a manager has to take the change, for which it may wait for a leader (20 s, and once more).
UPDATED = 90.0

# A follower stands after 10 to 20 ticks of 1 s (swarmkit#2564), or after a second round.
ELECTION = 45.0

# With dockerds up: an election (10 to 20 ticks of 1 s, or a second round), then agents' sessions
# (8 s of back-off at most); nodes are unknown to a new leader until they have one.
RESTARTED = 60.0

DETACHED = "names whole after leaving a network"
ATTACHED = "names whole after joining it again under another leader"
RESTARTS = "names whole after the restart of all managers"
ANSWERS = "tasks answer on both networks at the end"
LONE = "longest time a task answers on one network only"

_SECOND = 1_000_000_000

# A task is asked every three seconds, and an answer may take two: who asks less has been away.
AWAY = 10.0


def test_a_network_is_left_and_joined_through_a_failover(
    swarm, faults, leadership, discovery, reachability, gossip, measure
):
    """A service leaves a network, the leader dies, the next one has it join again."""
    web = swarm.deploy(on_two_networks())
    leader = swarm.leader
    with watched(web, discovery, reachability):
        measure(DETACHED, on(web, "both", ["north"], discovery), unit="s").below(
            SYNCED, source=SOURCE
        )
        twice(measure, swarm, "while it is on one")
        with faults.kill_dockerd(leader) as outage:
            failover = leadership.time_to_new_leader(
                other_than=leader, since=outage.injected_at, within=ELECTION
            )
        measure(ATTACHED, on(web, "both", ["north", "south"], discovery), unit="s").below(
            SYNCED, source=SOURCE
        )
        put_on_record(measure, web, reachability, gossip)
    measure("time to a new leader", failover, unit="s")
    twice(measure, swarm, "at the end")


@pytest.mark.thorough
def test_all_managers_restart(swarm, discovery, reachability, gossip, measure):
    """All managers are restarted at once; what they had given out stays as it was."""
    web = swarm.deploy(on_two_networks())
    before = given(swarm)
    with watched(web, discovery, reachability):
        managers = swarm.managers
        for node in managers:
            node.dockerd.stop()
        with ThreadPoolExecutor(len(managers)) as pool:
            list(pool.map(Node.start, managers))
        since = time.monotonic()
        swarm.wait_for_leader(within=RESTARTED)
        ready = swarm.time_to_ready(managers, since=since, within=RESTARTED)
        web.wait_running(RESTARTED)
        whole = discovery.time_to_converged(since=time.monotonic(), within=SYNCED + 2)
        put_on_record(measure, web, reachability, gossip)
    measure("all managers ready again", ready, unit="s").below(RESTARTED - 1)
    measure(RESTARTS, whole, unit="s").below(SYNCED, source=SOURCE)
    moved = sorted(before - given(swarm))
    measure("networks and services given something else", len(moved), unit="1").equals(
        0, source="swarmkit#2571: what was allocated is restored before anything new is"
    )
    twice(measure, swarm, "at the end")


@pytest.mark.control(DETACHED)
def test_control_gossip_cut(swarm, faults, discovery, measure):
    """A worker that hears no gossip does not learn that a service has left a network."""
    web = swarm.deploy(on_two_networks())
    worker = swarm.a_worker()
    with (
        discovery.watch(web, every=0.2, nodes=[worker]),
        faults.network.isolate(worker, plane="gossip"),
    ):
        names = on(web, "both", ["north"], discovery, within=ONE_ONLY)
    measure(DETACHED, names, unit="s").below(ONE_ONLY - 1)


@pytest.mark.control(ANSWERS, LONE)
def test_control_one_network_down(swarm, reachability, gossip, measure):
    """A worker's bridge of one network is down: its neighbours reach it on the other only."""
    web = swarm.deploy(on_two_networks())
    with reachability.watch(web, every=1.0, inside=True, every_inside=2.0):
        reachability.time_to_converged(within=SYNCED, inside=True)
        down = bridge_down(swarm.a_worker(), web.networks["south"])
        time.sleep(ONE_ONLY + 5)
        put_on_record(measure, web, reachability, gossip, within=5)
    measure("bridges taken down", down, unit="1", better="none").above(1)


def on_two_networks():
    """A balancer on two networks, a backend on each, one service on both of them."""
    both = ("north", "south")
    return Workload(
        "two",
        both,
        (
            Service("first", APP_IMAGE, ("north",), 1, APP_PORT),
            Service("second", APP_IMAGE, ("south",), 1, APP_PORT),
            Service("both", APP_IMAGE, both, 2, APP_PORT),
            Service(
                "balancer",
                BALANCER_IMAGE,
                both,
                replicas=1,
                port=BALANCER_PORT,
                published=BALANCER_PORT,
                env={"UPSTREAM": "both", "UPSTREAM_PORT": str(APP_PORT)},
            ),
        ),
        entry="balancer",
    )


@contextmanager
def watched(web, discovery, reachability):
    """Names twice a second, tasks in each network every three seconds; from two nodes."""
    swarm = web.swarm
    places = [swarm.leader, swarm.a_worker()]
    with (
        discovery.watch(web, every=0.5, nodes=places),
        reachability.watch(
            web, every=2.0, inside=True, every_inside=3.0, vantage_points=discovery.vantage_points
        ),
    ):
        yield


def on(web, service, networks, discovery, *, within=SYNCED + 2):
    """Put a service on these networks; how long names take to be true after the update."""

    def edit(spec):
        ids = [web.networks[name] for name in networks]
        spec["TaskTemplate"]["Networks"] = [{"Target": id_} for id_ in ids]
        spec["UpdateConfig"] = {"Parallelism": 2, "Monitor": _SECOND, "FailureAction": "continue"}

    web.change(service, edit)
    web.time_to_updated(service, within=UPDATED)
    discovery.relearn()
    return discovery.time_to_converged(since=time.monotonic(), within=within)


def bridge_down(node, network):
    """Take a node's bridge of one overlay network down; how many were there."""
    script = (
        "count=0\n"
        'for namespace in /run/docker/netns/*-"$1"; do\n'
        '    nsenter --net="$namespace" ip link set br0 down && count=$((count + 1))\n'
        "done\n"
        "echo $count"
    )
    return int(node.run(["sh", "-c", script, "sh", network[:10]]).text)


def given(swarm):
    """Subnets and ids of networks and the addresses of services, as one manager has them."""
    found = allocation(swarm)
    networks = {f"{n.name} {n.subnets} {n.vxlan_ids}" for n in found.networks}
    services = {f"{g.owner} {g.address} in {g.network}" for g in found.given}
    return networks | {words for words in services if not words.startswith("task ")}


def twice(measure, swarm, when):
    """Nothing may have been given out twice."""
    found = allocation(swarm)
    for name, words in (
        ("addresses of two owners", found.shared_addresses()),
        ("VXLAN ids of two networks", found.shared_vxlan_ids()),
        ("subnets that overlap", found.overlapping_subnets()),
    ):
        note = "; ".join(words[:3])
        measure(f"{name} {when}", len(words), unit="1", note=note).equals(0)


def put_on_record(measure, web, reachability, gossip, within=SYNCED + 2):
    """Who got through in the end, and what failed on one network while the other one served."""
    since = time.monotonic()
    whole = reachability.time_to_converged(within=within, since=since, inside=True)
    if not whole.reached and (wrong := gossip.wrong_forwarding(web)):
        web.swarm.note("note", text="forwarding tables: " + "; ".join(wrong))
    measure(ANSWERS, whole, unit="s").below(min(within, SYNCED), source=SOURCE)
    measure(LONE, longest_on_one(reachability), unit="s").below(
        ONE_ONLY, source="networkdb: what one network lost comes with its bulk sync, every 30 s"
    )


def longest_on_one(reachability):
    """The longest time one task got no answer through on one network and did on the other."""
    pairs = defaultdict(list)
    for attempt in reachability.attempts(inside=True):
        if attempt.cell.target.startswith("both."):
            node = attempt.cell.source.partition(" ")[0]
            pairs[node, attempt.cell.target].append(attempt)
    runs = [run for attempts in pairs.values() for run in failures_on_one(attempts)]
    if not runs:
        return Elapsed(0.0, reached=True)
    seconds, still, words = max(runs)
    return Elapsed(round(seconds, 6), reached=not still, last=words)


def failures_on_one(attempts):
    """(seconds, whether it lasts, words) of failures in a row while the other network answered.

    A watcher that was away in between (its node was) ends a row: nobody knows of that time.
    """
    cells = defaultdict(list)
    for attempt in attempts:
        cells[attempt.cell].append(attempt)
    for cell, own in cells.items():
        served = [a.t for a in attempts if a.cell != cell and a.outcome == "ok"]
        row = []
        for attempt in [*own, None]:
            away = attempt is None or (row and attempt.t - row[-1].t > AWAY)
            if attempt is not None and attempt.outcome != "ok" and not away:
                row.append(attempt)
                continue
            if row:
                well = attempt is not None and not away
                end = attempt.t if well else row[-1].t + row[-1].took
                since = min((t for t in served if row[0].t <= t < end), default=end)
                if end > since:
                    yield end - since, attempt is None, f"{cell}: {row[-1].outcome}"
            row = [attempt] if attempt is not None and attempt.outcome != "ok" else []
