"""What makes a node's tasks move, what does not, and what two detectors make of one node.

Gossip and dispatcher look at a node each for itself: gossip takes its tasks out of service, the
dispatcher starts others elsewhere. Ten per cent of lost packets are no reason for either; a
blackout is one for both. A task that is cut off goes on running, and so does the one that replaces
it: two writers on one shared file, until the node is back and is told. Nothing in the engine keeps
them apart, and nothing is expected to; how long it lasts is put on record, and that it ends.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest

from harness.probes.shared_file import SharedFile
from harness.swarm import APP_IMAGE, NoAnswer, Service, Workload, balanced_web
from harness.wait import NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=3, workers=2),
    pytest.mark.upstream("moby/moby#32841", "moby/moby#24557", "moby/moby#34069"),
]

# Four peers probe one node each a second, in turn; the first that misses it suspects it for 4 s if
# two others do, too, and for 24 s at most (memberlist, 4 to 10 nodes).
GIVEN_UP = 30.0
GIVEN_UP_SOURCE = "memberlist: suspicion of at most 24 s, and probes of every member in turn"

# Three heartbeats of 5 s +- 0.5 s from the last one that came (swarmkit manager/dispatcher).
DOWN = 18.0
DOWN_SOURCE = "swarmkit: down after 3 periods of 5 s +- 0.5 s"

# Then 5 s of restart delay and the start, on a slow machine.
REPLACED = 40.0
REPLACED_SOURCE = "swarmkit: down after 16.5 s, restart delay 5 s, and the start"

# The agent's session: a request in vain takes 5 s, the back-off is at most 8 s (swarmkit agent);
# a registration, the node's own report.
BACK = 30.0

# And the assignment, 2 s before the stop (moby, for gossip), the grace of 3 s that the tasks have.
SINGLE = 45.0

# A new task's name that its peers did not take is told again by synchronisations, one each 30 s and
# with one member by chance: up to 100 s were seen. What is not there after 5 min stays away.
WHOLE = 300.0
WHOLE_SOURCE = "moby#53141: what is not back after 5 minutes stays away"

# Of what enters at the living nodes, while gossip takes the dead one's tasks out of service.
LOST = 0.25

LOSS_SECONDS = 40.0
BLACKOUT_SECONDS = 30.0

CALLED_FAILED = "peers that called the node failed"
WENT_DOWN = "looks at which the node was not ready"
MOVED = "tasks replaced"
ELECTIONS = "changes of leader"
TIME_TO_DOWN = "time until the node is down"
TIME_TO_REPLACED = "time until all tasks run elsewhere"


@pytest.fixture
def shared(swarm, trial):
    """A file on storage that all nodes share."""
    return SharedFile(swarm.lab.nodes.values(), trial)


@pytest.fixture
def web(swarm, shared, tasks):
    """An app behind a balancer, a task of it on every node, and one that writes to the file."""
    return with_writer(balanced_web(replicas=5), swarm, shared, tasks)


@pytest.fixture
def few(swarm, shared, tasks):
    """An app on both workers that nobody uses, and one task that writes to the shared file."""
    app = Service("app", APP_IMAGE, ("web",), replicas=2, role="worker")
    return with_writer(Workload("web", ("web",), (app,)), swarm, shared, tasks)


@pytest.mark.usefixtures("few")
def test_loss_is_borne(swarm, faults, tasks, gossip, leadership, measure):
    """Ten per cent of lost packets, each for itself, are no reason for a failover."""
    worker = on_writers_node(swarm, tasks)
    before = running(tasks)
    with faults.network.loss(worker, 0.10) as loss:
        looks = watch_state(swarm, worker, LOSS_SECONDS)
        lost, of = loss.packet_counts
    measure("share of packets lost", lost / of, unit="1", better="none")
    on_loss(measure, worker, before, looks, tasks, gossip, leadership, loss)


@pytest.mark.usefixtures("few")
@pytest.mark.control(CALLED_FAILED, WENT_DOWN, MOVED)
def test_control_loss_of_everything(swarm, faults, tasks, gossip, leadership, measure):
    """A hundred per cent are a reason for both detectors, and the check says so."""
    worker = on_writers_node(swarm, tasks)
    before = running(tasks)
    with faults.network.loss(worker, 1.0) as loss:
        looks = watch_state(swarm, worker, LOSS_SECONDS)
    on_loss(measure, worker, before, looks, tasks, gossip, leadership, loss)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("loss-30", marks=pytest.mark.thorough),
        pytest.param("bursts", marks=[pytest.mark.thorough, pytest.mark.needs("netem", "htb")]),
    ],
)
def test_worse_loss_heals(kind, web, swarm, faults, discovery, tasks, gossip, shared, measure):
    """What 30 %, or bursts of as much, make of a node is put on record; after it all is whole."""
    worker = on_writers_node(swarm, tasks)
    before = running(tasks)
    links = faults.network.links(worker)
    loss = (
        faults.network.loss(links, 0.30)
        if kind == "loss-30"
        else faults.network.bursts(links, to_bad=0.03, to_good=0.07)
    )
    with discovery.watch(web, every=1.0):
        with loss:
            looks = watch_state(swarm, worker, 60.0)
        on_return(measure, swarm, worker, discovery, tasks, since=loss.healed_at)
    failed = gossip.changes("failed", about=worker, since=loss.began)
    measure("times that a peer called the node failed", len(failed), unit="1", better="none")
    measure(WENT_DOWN, sum(state != "ready" for state in looks), unit="1", better="none")
    measure(MOVED, len(moved(tasks, before, loss)), unit="tasks", better="none")
    on_twins(measure, tasks, shared, loss)


def test_blackout(
    web, swarm, faults, discovery, reachability, tasks, gossip, shared, leadership, measure
):
    """A node that is cut off is replaced in time; when it is back, all is single and whole."""
    worker = on_writers_node(swarm, tasks)
    others = swarm.all_but(worker)
    # Who was cut off, one that was not, and a manager: a place to ask from is a container more.
    places = [worker, next(n for n in swarm.workers if n.name != worker.name), swarm.leader]
    with (
        discovery.watch(web, every=2.0, nodes=places),
        reachability.watch(web, every=2.0),
    ):
        with faults.network.blackout(worker) as cut:
            on_the_blackout(measure, swarm, worker, tasks, gossip, cut)
            cut.hold(BLACKOUT_SECONDS)
        on_return(measure, swarm, worker, discovery, tasks, since=cut.healed_at)
    on_the_others(measure, others, reachability, cut)
    on_twins(measure, tasks, shared, cut)
    measure(ELECTIONS, elections(leadership, cut), unit="1").equals(0, source="it is a worker")


@pytest.mark.usefixtures("web")
@pytest.mark.control(TIME_TO_DOWN, TIME_TO_REPLACED)
def test_control_blackout_without_managers(swarm, faults, tasks, gossip, measure):
    """With two of three managers dead nobody is replaced, and the check says so."""
    worker = on_writers_node(swarm, tasks)
    with (
        faults.kill_dockerd(swarm.a_follower()),
        faults.kill_dockerd(swarm.leader),
        faults.network.blackout(worker) as cut,
    ):
        on_the_blackout(measure, swarm, worker, tasks, gossip, cut)


@pytest.mark.parametrize(
    "plane",
    [
        pytest.param("control", marks=pytest.mark.thorough),
        pytest.param("gossip", marks=pytest.mark.thorough),
    ],
)
def test_one_detector_only(
    plane, web, swarm, faults, discovery, reachability, tasks, gossip, shared, measure
):
    """A cut that one of the two does not see: what each does, and that all is whole after it."""
    worker = on_writers_node(swarm, tasks)
    before = running(tasks)
    with discovery.watch(web, every=1.0), reachability.watch(web, every=1.0):
        with faults.network.isolate(worker, plane=plane) as cut:
            looks = watch_state(swarm, worker, BLACKOUT_SECONDS)
        on_return(measure, swarm, worker, discovery, tasks, since=cut.healed_at)
    failed = {change.by for change in gossip.changes("failed", about=worker, since=cut.began)}
    down = sum(state != "ready" for state in looks)
    replaced = len(moved(tasks, before, cut))
    seen = measure(CALLED_FAILED, len(failed), unit="1", better="none")
    looked = measure(WENT_DOWN, down, unit="1", better="none")
    taken = measure(MOVED, replaced, unit="tasks", better="none")
    if plane == "control":
        seen.equals(0, source="gossip is on 7946")
        looked.above(1, source=DOWN_SOURCE)
    else:
        looked.equals(0, source="the dispatcher is on 2377")
        taken.equals(0, source="only the dispatcher has tasks replaced")
    on_twins(measure, tasks, shared, cut)


# -- what is looked at -----------------------------------------------------------------------


def with_writer(workload, swarm, shared, tasks):
    """Deploy a workload and one task more, which writes to the shared file."""
    writer = Service(
        "writer", APP_IMAGE, ("web",), replicas=0, role="worker", command=SharedFile.COMMAND
    )
    made = swarm.deploy(replace(workload, services=(*workload.services, writer)))
    shared.start_writer(made, "writer")
    started = tasks.time_to_running("writer", 1, within=60.0, since=time.monotonic())
    assert started.reached, started.last
    return made


def on_writers_node(swarm, tasks):
    """The worker on which the writer runs."""
    [writer] = tasks.running("writer")
    return swarm.lab.node(writer.node)


def running(tasks):
    """The tasks that run, by id."""
    return {life.task for life in tasks.lives() if life.ended is None}


def moved(tasks, before, fault):
    """The tasks that were started since the injection."""
    return [
        life for life in tasks.lives() if life.task not in before and life.started >= fault.began
    ]


def elections(leadership, fault):
    """How often a manager has said since the injection that it leads."""
    return sum(view.t >= fault.began and view.leader == view.by for view in leadership.views())


def watch_state(swarm, node, seconds):
    """The node's state as the managers list it, once a second."""
    looks = []

    def look():
        try:
            looks.append(swarm.member(node).state)
        except NoAnswer as error:
            return NotYet(error.what)
        if len(looks) < 2 or looks[-1] != looks[-2]:
            swarm.note("node.state", node=node.name, state=looks[-1], by="managers")
        return NotYet(looks[-1])

    time_until(look, state="the end of the watching", within=seconds, every=1.0)
    return looks


def on_loss(measure, worker, before, looks, tasks, gossip, leadership, loss):
    """No detector has given the node up."""
    failed = {change.by for change in gossip.changes("failed", about=worker, since=loss.began)}
    suspects = gossip.changes("suspect", about=worker, since=loss.began)
    measure(CALLED_FAILED, len(failed), unit="1").equals(0, source="a probe has three relays")
    down = sum(state != "ready" for state in looks)
    measure(WENT_DOWN, down, unit="1").equals(0, source="TCP sends again what was lost")
    measure(MOVED, len(moved(tasks, before, loss)), unit="tasks").equals(0)
    measure(ELECTIONS, elections(leadership, loss), unit="1").equals(0, source="it is a worker")
    measure("suspicions", len(suspects), unit="1", better="none")


def on_the_blackout(measure, swarm, worker, tasks, gossip, cut):
    """Both detectors give the node up, and its tasks run elsewhere."""

    def down():
        try:
            state = swarm.member(worker).state
        except NoAnswer as error:
            return NotYet(error.what)
        return True if state == "down" else NotYet(state)

    since = cut.injected_at
    gone = time_until(down, state="the node to be down", within=DOWN + 1, every=0.5, since=since)
    if gone.reached:
        swarm.note("node.state", node=worker.name, state="down", by="managers")
    failed = gossip.time_to("failed", worker, since=since, within=GIVEN_UP + 1)
    app = tasks.time_to_running("app", 5, avoiding=worker, since=since, within=REPLACED + 1)
    writer = tasks.time_to_running("writer", 1, avoiding=worker, since=since, within=REPLACED + 1)
    last = max(app, writer, key=lambda elapsed: (not elapsed.reached, elapsed.seconds))
    measure(TIME_TO_DOWN, gone, unit="s").below(DOWN, source=DOWN_SOURCE)
    measure("time until a peer calls it failed", failed, unit="s").below(
        GIVEN_UP, source=GIVEN_UP_SOURCE
    )
    measure(TIME_TO_REPLACED, last, unit="s").below(REPLACED, source=REPLACED_SOURCE)


def on_return(measure, swarm, worker, discovery, tasks, *, since):
    """The node is a member again, nobody has a twin, and names are true."""

    def single():
        slots = Counter((life.service, life.slot) for life in tasks.lives() if life.ended is None)
        twice = sorted(f"{service}.{slot}" for (service, slot), n in slots.items() if n > 1)
        return NotYet(f"twice: {', '.join(twice)}") if twice else True

    ready = swarm.time_to_ready([worker], since=since, within=BACK + 1)
    alone = time_until(single, state="single tasks", within=SINGLE + 1, every=0.25, since=since)
    names = discovery.time_to_converged(since=since, within=WHOLE + 1)
    measure("the node is ready after its return", ready, unit="s").below(
        BACK, source="swarmkit's agent: requests of 5 s, a back-off of at most 8 s"
    )
    measure("no task runs twice after its return", alone, unit="s").below(
        SINGLE, source="the session, 2 s before a stop, the grace of 3 s"
    )
    measure("names whole after its return", names, unit="s").below(WHOLE, source=WHOLE_SOURCE)


def on_the_others(measure, others, reachability, cut):
    """What users met at the nodes that were not cut off, from the cut on."""
    names = {node.name for node in others}
    asked = [
        attempt
        for attempt in reachability.attempts(since=cut.began, inside=False)
        if attempt.cell.target.partition(":")[0] in names
    ]
    lost = sum(attempt.outcome != "ok" for attempt in asked)
    measure("share of requests lost at the other nodes", lost / len(asked), unit="1").below(
        LOST, source="a task of five is gone until gossip says so, the balancer tries another"
    )


def on_twins(measure, tasks, shared, fault):
    """How long two tasks of one slot ran at once, and wrote to one file: for the record."""
    twins = tasks.twins(since=fault.began)
    measure("slots with twins", len({(t.service, t.slot) for t in twins}), unit="1", better="none")
    longest = max((twin.seconds for twin in twins), default=0.0)
    measure("longest time that a task ran twice", longest, unit="s", better="none")
    together = sum(stretch.seconds for stretch in shared.together(since=fault.began))
    measure("time with two writers on one file", together, unit="s", better="none")
