"""Programs at the API: whoever follows logs, polls tasks, prunes or deploys all day long.

They do nothing to a swarm that it does not offer, and engines have leaked by them, died of them, or
left them without an answer. Each is run beside something that happens to any swarm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.faults import Fault, Faults
from harness.lab import Node
from harness.load import (
    POLL_EVERY,
    Followers,
    PollingProxy,
    deploy_every,
    logs_of,
    prune_every,
    read_logs,
)
from harness.probes.memory import Memory
from harness.probes.sampling.vantage_containers import VantageContainers
from harness.probes.tasks import Tasks
from harness.swarm import (
    APP_IMAGE,
    APP_PORT,
    LOGWRITER_IMAGE,
    Deployment,
    RestartPolicy,
    Service,
    Swarm,
    UpdateConfig,
    Workload,
    as_stack,
)
from harness.trial import Expectation, Measures, Observation, Trial
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [pytest.mark.swarm(managers=1, workers=2), pytest.mark.thorough]

READ_WITHIN = 30.0
FOLLOWERS = 10
LIVES = 1.0  # seconds until a follower is abandoned

WITHOUT = Expectation(
    "running tasks whose lines are missing in the service's logs",
    unit="tasks",
    exactly=0,
    source="moby#41733: the manager asks each node of the service, and all can be reached again",
    control="test_control_node_is_paused",
)
READ = Expectation(
    "time until the service's logs have been read",
    unit="s",
    at_most=READ_WITHIN,
    source="a few hundred lines; the log broker gives a node 5 s to subscribe",
    control="test_control_node_is_paused",
)
LEFT_BEHIND = Expectation(
    "goroutines left behind by followers",
    unit="1",
    at_most=FOLLOWERS,
    source="moby#46068, moby#48144: what nobody reads is let go; fewer than one for each place, of "
    "the dozens that came and went in it",
    control="test_control_followers_stay",
)
PROXIED = Expectation(
    "longest time a polling proxy asks nobody that lives",
    unit="s",
    at_most=POLL_EVERY + 3,
    source="it polls every 15 s, an update replaces its only backend right after a poll; the "
    "request that hangs meanwhile takes 2 s",
    control="test_control_polls_rarely",
)
RUNNING = Expectation(
    "time until a task that waited for its restart runs, under a pruning cron",
    unit="s",
    at_most=40,
    source="moby#38733: its restart delay of 20 s, then it starts; 20 s more for a slow machine",
    control="test_control_nothing_restarts",
)
DEPLOYED = Expectation(
    "deployments of an unchanged stack that failed",
    unit="1",
    exactly=0,
    source="each is an update of services to what they are",
    control="test_control_deploys_without_leader",
)
REPLACED = Expectation(
    "tasks replaced by deployments of an unchanged stack",
    unit="tasks",
    exactly=0,
    source="a specification that does not change replaces nothing",
    control="test_control_deploys_changes",
)
FOLLOWED = Observation("followers that were told something", unit="1")
MISSING = Observation("lines left out for followers", unit="lines")


@pytest.mark.upstream("moby/moby#41733", "moby/moby#33183", "moby/moby#35011")
def test_logs_after_a_cut(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """After a worker was cut off its manager for a minute, all tasks' logs can be read."""
    web = swarm.deploy(writers())
    with faults.network.isolate(swarm.a_worker(), plane="control") as cut:
        cut.hold(60.0)
    swarm.time_to_ready(swarm.workers, within=60.0)
    found = read_logs(swarm.leader, web, "writer", within=READ_WITHIN)
    measure(WITHOUT, len(found.without), note=", ".join(found.without))
    measure(READ, took(found.seconds, reached=found.outcome != "hangs"))


@pytest.mark.upstream("moby/moby#46068", "moby/moby#48144", "moby/moby#47322")
def test_followers_come_and_go(
    swarm: Swarm, trial: Trial, memory: Memory, measure: Measures
) -> None:
    """Followers of logs that are opened and abandoned all the time leave nothing behind."""
    web, leader = swarm.deploy(writers()), swarm.leader
    read_logs(leader, web, "writer", within=READ_WITHIN)  # what a first one makes for good
    before = goroutines(memory, swarm)
    with Followers(leader, logs_of(web, "writer"), trial, count=FOLLOWERS, lives=LIVES) as some:
        swarm.observe(20.0, "followers come and go")
    followed = sum(stream.heard is not None for stream in some.streams)
    measure(FOLLOWED, followed)
    measure(MISSING, some.missing)
    swarm.observe(10.0, "what nobody reads is let go")
    left = more_than(before, goroutines(memory, swarm))
    measure(LEFT_BEHIND, left if followed > FOLLOWERS else None)  # none came and went in its place


@pytest.mark.upstream("traefik/traefik#7886", "traefik/traefik#7373")
def test_polling_proxy(swarm: Swarm, trial: Trial, measure: Measures) -> None:
    """A proxy that polls loses its only backend for as long as it does not look."""
    web = swarm.deploy(one_task())
    with proxied(web, trial, poll_every=POLL_EVERY) as proxy:
        swarm.observe(2.0, "it knows its backend")
        web.redeploy("app")
        web.time_to_updated("app", within=60.0)
        swarm.observe(POLL_EVERY, "it polls again")
    measure(PROXIED, proxy.longest_outage())


@pytest.mark.upstream("moby/moby#38733")
def test_pruned(
    swarm: Swarm, trial: Trial, faults: Faults, tasks: Tasks, measure: Measures
) -> None:
    """A cron that prunes leaves alone what waits for its restart."""
    web = swarm.deploy(one_task(restart=RestartPolicy(delay=20.0)))
    node = node_of(web)
    with (
        tasks.watch(web),
        prune_every(3.0, node, trial),
        faults.process.kill_task(node, "app") as killed,
    ):
        measure(RUNNING, running_again(tasks, killed))


def test_deployed_again_and_again(swarm: Swarm, trial: Trial, measure: Measures) -> None:
    """A pipeline that deploys an unchanged stack changes nothing."""
    workload = one_task()
    with deploy_every(1.0, workload, swarm, trial) as cron:
        time_until(
            lambda: bool(cron.acts) or NotYet("not deployed yet"), state="the stack", within=60.0
        )
        swarm.observe(20.0, "it is deployed over and over")
    measure(DEPLOYED, cron.failed, note="; ".join(a.said for a in cron.acts if a.failed)[:200])
    measure(REPLACED, tasks_made(swarm) - 1)


@pytest.mark.control
def test_control_node_is_paused(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """A worker whose dockerd stands still gives no lines, and the call does not end."""
    web = swarm.deploy(writers())
    with faults.process.pause_dockerd(swarm.a_worker()):
        found = read_logs(swarm.leader, web, "writer", within=READ_WITHIN)
    measure(WITHOUT, len(found.without), note=", ".join(found.without))
    measure(READ, took(found.seconds, reached=found.outcome != "hangs"))


@pytest.mark.control
def test_control_followers_stay(
    swarm: Swarm, trial: Trial, memory: Memory, measure: Measures
) -> None:
    """Followers that are still there hold goroutines, and the count says so."""
    web, leader = swarm.deploy(writers()), swarm.leader
    read_logs(leader, web, "writer", within=READ_WITHIN)
    before = goroutines(memory, swarm)
    with Followers(leader, logs_of(web, "writer"), trial, count=FOLLOWERS) as some:
        some.wait_heard()
        measure(LEFT_BEHIND, more_than(before, goroutines(memory, swarm)))


@pytest.mark.control
def test_control_polls_rarely(swarm: Swarm, trial: Trial, measure: Measures) -> None:
    """A proxy that polls once a minute asks the dead for longer."""
    web = swarm.deploy(one_task())
    with proxied(web, trial, poll_every=60.0) as proxy:
        swarm.observe(2.0, "it knows its backend")
        web.redeploy("app")
        web.time_to_updated("app", within=60.0)
        swarm.observe(PROXIED.limit + 5.0, "it does not poll")
    measure(PROXIED, proxy.longest_outage())


@pytest.mark.control
def test_control_nothing_restarts(
    swarm: Swarm, faults: Faults, tasks: Tasks, measure: Measures
) -> None:
    """A task whose policy is to stay dead does not run again, cron or not."""
    web = swarm.deploy(one_task(restart=RestartPolicy("none")))
    node = node_of(web)
    with tasks.watch(web), faults.process.kill_task(node, "app") as killed:
        measure(RUNNING, running_again(tasks, killed))


@pytest.mark.control
def test_control_deploys_without_leader(
    swarm: Swarm, trial: Trial, faults: Faults, measure: Measures
) -> None:
    """Without a manager that answers no stack is deployed, and each attempt is a failure."""
    with (
        faults.kill_dockerd(swarm.leader),
        deploy_every(1.0, one_task(), swarm, trial) as cron,
    ):
        time_until(
            lambda: bool(cron.acts) or NotYet("under way"), state="one attempt", within=180.0
        )
    measure(DEPLOYED, cron.failed)


@pytest.mark.control
def test_control_deploys_changes(swarm: Swarm, measure: Measures) -> None:
    """A stack that is deployed with a change replaces its task."""
    first = swarm.deploy(as_stack(one_task()))
    swarm.create(as_stack(one_task(changed=True)))
    first.time_to_updated("app", within=60.0)
    measure(REPLACED, tasks_made(swarm) - 1)


def writers() -> Workload:
    """Return a program on each worker that writes ten numbered lines a second."""
    writer = Service("writer", LOGWRITER_IMAGE, ("web",), replicas=None, role="worker")
    return Workload("web", ("web",), (writer,))


def one_task(*, restart: RestartPolicy | None = None, changed: bool = False) -> Workload:
    """Return a service of one task, the next of which is started first."""
    app = Service(
        "app",
        APP_IMAGE,
        ("web",),
        1,
        APP_PORT,
        role="worker",
        env={"CHANGED": "1"} if changed else {},
        restart=restart or RestartPolicy(delay=1.0),
        update=UpdateConfig(order="start-first", monitor=1.0),
    )
    return Workload("one", ("web",), (app,))


@contextmanager
def proxied(web: Deployment, trial: Trial, *, poll_every: float) -> Iterator[PollingProxy]:
    """Run a polling proxy in the network, on the manager."""
    places = VantageContainers([web.swarm.leader], web.networks)
    places.start()
    try:
        [place] = places.there()
        via = place.namespace.run
        with PollingProxy(via, web, "app", APP_PORT, trial, poll_every=poll_every) as proxy:
            yield proxy
    finally:
        places.close()


def node_of(web: Deployment) -> Node:
    """Return the node of the service's running task."""
    return web.swarm.lab.node(next(task.node for task in web.tasks("app") if task.running))


def running_again(tasks: Tasks, killed: Fault) -> Elapsed:
    """Return how long it took from the task's death until another one ran."""
    return tasks.time_to_running("app", 1, within=RUNNING.limit, since=killed, fresh=True)


def tasks_made(swarm: Swarm) -> int:
    """Return how many tasks the stack's service has had."""
    return len(swarm.ask(lambda api: api.api.tasks(filters={"service": "one_app"})))


def goroutines(memory: Memory, swarm: Swarm) -> int | None:
    """Return how many goroutines the dockerds of all members have; None if one does not say."""
    counts = [memory.now(node).goroutines for node in swarm.all_but()]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def more_than(before: int | None, now: int | None) -> int | None:
    """Return by how much a count has grown; None if it was not known at both times."""
    return None if before is None or now is None else now - before


def took(seconds: float, *, reached: bool) -> Elapsed:
    """Return a time that was measured to its end, or not."""
    return Elapsed(seconds, reached=reached)
