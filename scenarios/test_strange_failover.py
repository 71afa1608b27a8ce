"""What makes a node's tasks move, what does not, and what two detectors make of one node.

Gossip and dispatcher each watch a node on their own: gossip takes its tasks out of service, the
dispatcher starts others elsewhere. Ten per cent of lost packets are no reason for either; a
blackout is one for both. A task that is cut off goes on running, and so does the one that replaces
it: two writers on one shared file, until the node is back and hears of it. Nothing in the engine
keeps them apart, and nothing is expected to; how long it lasts is recorded, and that it ends.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest

from harness.faults import Fault, Faults
from harness.lab import Node
from harness.probes.containers import Life
from harness.probes.gossip import Gossip
from harness.probes.leadership import Leadership
from harness.probes.node_states import listed_states, time_to_state
from harness.probes.reachability import Reachability
from harness.probes.shared_file import SharedFile
from harness.probes.tasks import Tasks
from harness.pytest_plugin import Probes
from harness.swarm import APP_IMAGE, Deployment, Service, Swarm, SwarmClient, Workload, balanced_web
from harness.trial import Expectation, Measures, Observation, Readings, Trial
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.upstream("moby/moby#32841", "moby/moby#24557", "moby/moby#34069"),
]

APPS = 5
LOSS_SECONDS = 40.0
CUT_SECONDS = 30.0

AFTER_THREE_HEARTBEATS = "swarmkit's dispatcher: down after 3 heartbeats of 5 s +- 0.5 s"

DECLARED_FAILED = Expectation(
    "peers that declared the node failed",
    unit="1",
    exactly=0,
    source="memberlist: a probe that is lost goes through three relays as well, on 7946",
    control="test_control_loss_of_everything",
)
NOT_READY = Expectation(
    "samples with the node not ready",
    unit="1",
    exactly=0,
    source="swarmkit: heartbeats are on 2377, and TCP sends again what was lost",
    control="test_control_loss_of_everything",
)
REPLACED = Expectation(
    "tasks replaced",
    unit="tasks",
    exactly=0,
    source="swarmkit: only the dispatcher has tasks replaced",
    control="test_control_loss_of_everything",
)
ELECTIONS = Expectation(
    "changes of leader",
    unit="1",
    exactly=0,
    source="the node is a worker",
    no_control="test_manager_failover.py has elections that the same probe sees",
)
DOWN = Expectation(
    "time until the node is down",
    unit="s",
    at_most=18,
    source=AFTER_THREE_HEARTBEATS,
    control="test_control_blackout_without_managers",
)
FAILED = Expectation(
    "time until a peer declared the node failed",
    unit="s",
    at_most=30,
    source="memberlist, 4 to 10 nodes: four peers probe one node each a second, in turn; the first "
    "that misses it suspects it for 4 s if two others do, too, and for 24 s at most",
    no_control="test_loss_is_borne shows that the probe sees no declaration where there is none",
)
RESCHEDULED = Expectation(
    "time until all tasks run elsewhere",
    unit="s",
    at_most=40,
    source="swarmkit: down after 16.5 s, a restart delay of 5 s, and the start on a slow machine",
    control="test_control_blackout_without_managers",
)
LOST = Expectation(
    "share of requests lost at the other nodes",
    unit="1",
    at_most=0.25,
    source="until gossip says so, for 24 s at most, one balancer of two is gone and one task of "
    "five for the other: 24 s x (1/2 + 1/2 x 1/5) of the 60 s and more that are watched; without a "
    "mesh 0.05 at most in 20 trials of four engines (docs/samples/engines.csv)",
    no_control="at the node that is cut off every request is lost; it is left out",
)
READY = Expectation(
    "time to ready after its return",
    unit="s",
    at_most=15,
    source="swarmkit's agent: a request of 5 s that is under way, a back-off of at most 8 s, 2 s "
    "for a registration and the node's own report; 6 s at most in 20 trials of four engines "
    "(docs/samples/engines.csv)",
    no_control="test_control_blackout_without_managers shows that a node can be not ready",
)
SINGLE = Expectation(
    "time until no task runs twice after its return",
    unit="s",
    at_most=20,
    source="the session and the assignment, 15 s at most; 2 s before a stop (moby, for gossip), "
    "the grace of 3 s; 9.1 s at most in 20 trials of four engines (docs/samples/engines.csv)",
    no_control="two tasks do run in the cut, which the same probe records",
)
NAMES = Expectation(
    "time to correct names after its return",
    unit="s",
    at_most=300,
    source="networkdb: a name its peers missed comes with a bulk sync; every 30 s each of two asks "
    "one of four at random, so that a pair has not met in 300 s with a chance of (3/4 x 3/4)^10, "
    "0.3 %; what is not back then stays away (moby#53141)",
    no_control="test_overlay_partition.py has the control, by the same probe",
)
DISPATCHER_NOTICED = Expectation(
    "samples with the node not ready, its managers cut off",
    unit="1",
    at_least=1,
    source=AFTER_THREE_HEARTBEATS,
    no_control="test_loss_is_borne has none, by the same probe",
)
PACKETS_LOST = Observation("share of packets lost", unit="1", better="none")
SUSPICIONS = Observation("suspicions", unit="1", better="none")
NOT_READY_IN_HEAVY_LOSS = Observation(
    "samples with the node not ready in heavy loss", unit="1", better="none"
)
DECLARATIONS = Observation("times a peer declared the node failed", unit="1", better="none")
DECLARED_FAILED_BY_GOSSIP = Observation(
    "peers that declared the node failed, its gossip cut", unit="1", better="none"
)
STARTED_ELSEWHERE = Observation("tasks started elsewhere", unit="tasks", better="none")
SLOTS_WITH_TWINS = Observation("slots with two tasks at once", unit="1", better="none")
LONGEST_TWINS = Observation("longest time a task ran twice", unit="s", better="none")
TWO_WRITERS = Observation("time with two writers on one file", unit="s", better="none")


@pytest.fixture
def shared(swarm: Swarm, trial: Trial) -> SharedFile:
    """A file on storage that all nodes share."""
    return SharedFile(swarm.lab.nodes.values(), trial)


@pytest.fixture
def web(swarm: Swarm, shared: SharedFile, tasks: Tasks) -> Deployment:
    """An app behind a balancer, a task of it on every node, and one that writes to the file."""
    return with_writer(balanced_web(replicas=APPS), swarm, shared, tasks)


@pytest.fixture
def few(swarm: Swarm, shared: SharedFile, tasks: Tasks) -> Deployment:
    """An app on both workers that nobody uses, and one task that writes to the shared file."""
    app = Service("app", APP_IMAGE, ("web",), replicas=2, role="worker")
    return with_writer(Workload("web", ("web",), (app,)), swarm, shared, tasks)


@pytest.mark.usefixtures("few")
def test_loss_is_borne(
    swarm: Swarm,
    faults: Faults,
    tasks: Tasks,
    gossip: Gossip,
    leadership: Leadership,
    measure: Measures,
) -> None:
    """Ten per cent of lost packets, each for itself, are no reason for a failover."""
    worker, before = writers_node(swarm, tasks), tasks.lives()
    with faults.network.loss(worker, 0.10) as loss:
        states = listed_states(swarm, worker, seconds=LOSS_SECONDS)
        lost, sent = loss.packet_counts
    measure(PACKETS_LOST, lost / sent)
    measure(DECLARED_FAILED, peers_that_declared_failed(gossip, worker, loss))
    measure(NOT_READY, not_ready(states))
    measure(REPLACED, started(tasks, before, loss))
    measure(ELECTIONS, len(leadership.elections(since=loss)))
    measure(SUSPICIONS, len(gossip.changes("suspect", about=worker, since=loss)))


@pytest.mark.usefixtures("few")
@pytest.mark.control
def test_control_loss_of_everything(
    swarm: Swarm, faults: Faults, tasks: Tasks, gossip: Gossip, measure: Measures
) -> None:
    """A hundred per cent are a reason for both detectors, and the check says so."""
    worker, before = writers_node(swarm, tasks), tasks.lives()
    with faults.network.loss(worker, 1.0) as loss:
        states = listed_states(swarm, worker, seconds=LOSS_SECONDS)
    measure(DECLARED_FAILED, peers_that_declared_failed(gossip, worker, loss))
    measure(NOT_READY, not_ready(states))
    measure(REPLACED, started(tasks, before, loss))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("loss-30", marks=pytest.mark.thorough),
        pytest.param("bursts", marks=[pytest.mark.thorough, pytest.mark.needs("netem", "htb")]),
    ],
)
def test_worse_loss_heals(
    kind: str,
    web: Deployment,
    faults: Faults,
    probes: Probes,
    shared: SharedFile,
    measure: Measures,
) -> None:
    """What 30 %, or bursts of as much, make of a node is recorded; after it all has converged."""
    swarm, tasks, discovery = web.swarm, probes.tasks, probes.discovery
    worker, before = writers_node(swarm, tasks), tasks.lives()
    with discovery.watch(web, every=1.0):
        with heavy_loss(kind, faults, worker) as loss:
            states = listed_states(swarm, worker, seconds=60.0)
        healed = loss.healed_at
        measure(READY, swarm.time_to_ready([worker], since=healed, within=READY.limit))
        measure(SINGLE, time_to_single(tasks, healed))
        measure(NAMES, discovery.time_to_converged(since=healed, within=NAMES.limit))
    measure(DECLARATIONS, len(probes.gossip.changes("failed", about=worker, since=loss)))
    measure(NOT_READY_IN_HEAVY_LOSS, not_ready(states))
    measure(STARTED_ELSEWHERE, started(tasks, before, loss))
    measure.each(twins(tasks, shared, loss))


def test_blackout(
    web: Deployment, faults: Faults, probes: Probes, shared: SharedFile, measure: Measures
) -> None:
    """A node that is cut off is replaced in time; when it is back, all is single and correct."""
    swarm, tasks, discovery = web.swarm, probes.tasks, probes.discovery
    worker = writers_node(swarm, tasks)
    others = swarm.all_but(worker)
    with (
        discovery.watch(web, every=2.0, nodes=vantage_points(swarm, worker)),
        probes.reachability.watch(web, every=2.0),
    ):
        with faults.network.blackout(worker) as cut:
            measure(DOWN, time_to_state(swarm, worker, "down", since=cut, within=DOWN.limit))
            failed = probes.gossip.time_to("failed", worker, since=cut, within=FAILED.limit)
            measure(FAILED, failed)
            measure(RESCHEDULED, time_to_rescheduled(tasks, worker, cut))
            cut.hold(CUT_SECONDS)
        healed = cut.healed_at
        measure(READY, swarm.time_to_ready([worker], since=healed, within=READY.limit))
        measure(SINGLE, time_to_single(tasks, healed))
        measure(NAMES, discovery.time_to_converged(since=healed, within=NAMES.limit))
    measure(LOST, share_lost_at(others, probes.reachability, cut))
    measure(ELECTIONS, len(probes.leadership.elections(since=cut)))
    measure.each(twins(tasks, shared, cut))


@pytest.mark.usefixtures("web")
@pytest.mark.control
def test_control_blackout_without_managers(
    swarm: Swarm, faults: Faults, tasks: Tasks, measure: Measures
) -> None:
    """With two of three managers dead nobody is replaced, and the check says so."""
    worker = writers_node(swarm, tasks)
    with (
        faults.kill_dockerd(swarm.a_follower()),
        faults.kill_dockerd(swarm.leader),
        faults.network.blackout(worker) as cut,
    ):
        measure(DOWN, time_to_state(swarm, worker, "down", since=cut, within=DOWN.limit))
        measure(RESCHEDULED, time_to_rescheduled(tasks, worker, cut))


@pytest.mark.thorough
def test_only_dispatcher_notices(
    web: Deployment, faults: Faults, probes: Probes, shared: SharedFile, measure: Measures
) -> None:
    """A worker that loses its managers only is replaced, and no peer declares it failed."""
    swarm, tasks, discovery = web.swarm, probes.tasks, probes.discovery
    worker, before = writers_node(swarm, tasks), tasks.lives()
    with discovery.watch(web, every=1.0), probes.reachability.watch(web, every=1.0):
        with faults.network.isolate(worker, plane="control") as cut:
            states = listed_states(swarm, worker, seconds=CUT_SECONDS)
        healed = cut.healed_at
        measure(READY, swarm.time_to_ready([worker], since=healed, within=READY.limit))
        measure(SINGLE, time_to_single(tasks, healed))
        measure(NAMES, discovery.time_to_converged(since=healed, within=NAMES.limit))
    measure(DECLARED_FAILED, peers_that_declared_failed(probes.gossip, worker, cut))
    measure(DISPATCHER_NOTICED, not_ready(states))
    measure(STARTED_ELSEWHERE, started(tasks, before, cut))
    measure.each(twins(tasks, shared, cut))


@pytest.mark.thorough
def test_only_gossip_notices(
    web: Deployment, faults: Faults, probes: Probes, shared: SharedFile, measure: Measures
) -> None:
    """A worker that loses gossip only stays ready, and none of its tasks is replaced."""
    swarm, tasks, discovery = web.swarm, probes.tasks, probes.discovery
    worker, before = writers_node(swarm, tasks), tasks.lives()
    with discovery.watch(web, every=1.0), probes.reachability.watch(web, every=1.0):
        with faults.network.isolate(worker, plane="gossip") as cut:
            states = listed_states(swarm, worker, seconds=CUT_SECONDS)
        healed = cut.healed_at
        measure(READY, swarm.time_to_ready([worker], since=healed, within=READY.limit))
        measure(SINGLE, time_to_single(tasks, healed))
        measure(NAMES, discovery.time_to_converged(since=healed, within=NAMES.limit))
    measure(DECLARED_FAILED_BY_GOSSIP, peers_that_declared_failed(probes.gossip, worker, cut))
    measure(NOT_READY, not_ready(states))
    measure(REPLACED, started(tasks, before, cut))
    measure.each(twins(tasks, shared, cut))


def with_writer(workload: Workload, swarm: Swarm, shared: SharedFile, tasks: Tasks) -> Deployment:
    """Deploy a workload and one task more, which writes to the shared file."""
    writer = Service(
        "writer", APP_IMAGE, ("web",), replicas=0, role="worker", command=SharedFile.COMMAND
    )
    made = swarm.deploy(replace(workload, services=(*workload.services, writer)))
    shared.start_writer(made, "writer")
    written = tasks.time_to_running("writer", 1, within=60.0, since=time.monotonic())
    assert written.reached, written.last
    return made


def writers_node(swarm: SwarmClient, tasks: Tasks) -> Node:
    """The worker on which the writer runs."""
    [writer] = tasks.running("writer")
    return swarm.lab.node(writer.node)


def vantage_points(swarm: SwarmClient, worker: Node) -> list[Node]:
    """Who is cut off, one that is not, and a manager: each one more is a container more."""
    return [worker, next(n for n in swarm.workers if n.name != worker.name), swarm.leader]


def heavy_loss(kind: str, faults: Faults, worker: Node) -> Fault:
    """30 per cent of all packets lost, each for itself or in bursts."""
    links = faults.network.links(worker)
    if kind == "loss-30":
        return faults.network.loss(links, 0.30)
    return faults.network.bursts(links, to_bad=0.03, to_good=0.07)


def not_ready(states: list[str]) -> int:
    """How many of the samples say that the node was not ready."""
    return sum(state != "ready" for state in states)


def peers_that_declared_failed(gossip: Gossip, worker: Node, fault: Fault) -> int:
    """How many peers have declared a node failed since the injection."""
    return len({change.by for change in gossip.changes("failed", about=worker, since=fault)})


def started(tasks: Tasks, before: list[Life], fault: Fault) -> int:
    """How many tasks were started since the injection."""
    known = {life.task for life in before if life.ended is None}
    return sum(life.task not in known and life.started >= fault.began for life in tasks.lives())


def time_to_rescheduled(tasks: Tasks, worker: Node, cut: Fault) -> Elapsed:
    """How long until the app and the writer are complete without a node: the later of them."""
    within = RESCHEDULED.limit
    both = [
        tasks.time_to_running(service, count, avoiding=worker, since=cut, within=within)
        for service, count in (("app", APPS), ("writer", 1))
    ]
    return max(both, key=lambda elapsed: (not elapsed.reached, elapsed.seconds))


def time_to_single(tasks: Tasks, since: float) -> Elapsed:
    """How long until no slot has two tasks that run."""

    def single() -> NotYet | bool:
        slots = Counter((life.service, life.slot) for life in tasks.lives() if life.ended is None)
        twice = sorted(f"{service}.{slot}" for (service, slot), n in slots.items() if n > 1)
        return NotYet(f"twice: {', '.join(twice)}") if twice else True

    return time_until(single, state="single tasks", within=SINGLE.limit, every=0.25, since=since)


def share_lost_at(nodes: list[Node], reachability: Reachability, cut: Fault) -> float:
    """The share of requests that entered by these nodes since the cut and were not served."""
    names = {node.name for node in nodes}
    outcomes = [
        attempt.outcome
        for attempt in reachability.attempts(since=cut, inside=False)
        if attempt.cell.target.partition(":")[0] in names
    ]
    return sum(outcome != "ok" for outcome in outcomes) / len(outcomes)


def twins(tasks: Tasks, shared: SharedFile, fault: Fault) -> Readings:
    """How long two tasks of one slot ran at once since the injection, and wrote to one file."""
    found = tasks.twins(since=fault)
    return {
        SLOTS_WITH_TWINS: len({(each.service, each.slot) for each in found}),
        LONGEST_TWINS: max((each.seconds for each in found), default=0.0),
        TWO_WRITERS: sum(stretch.seconds for stretch in shared.together(since=fault)),
    }
