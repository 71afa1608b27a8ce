"""The experiments: what is broken, for how long, and which stacks can be put to it.

Each is a context manager: it breaks something when it is entered and has healed it when it is left,
however the trial ends. :data:`EXPERIMENTS` has them in the order of the answer's page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.engine import same_release
from harness.errors import UsageError
from harness.pytest_plugin.battery.tried import Away, Effects, Tried, sends_logs, slowest
from harness.swarm import NoAnswer, Workload
from harness.wait import NotYet, expect_state, time_until

if TYPE_CHECKING:
    from harness.faults import Fault
    from harness.lab import Node, Topology

#: Seconds for a rolling update to come to its end: the file's own delays are in it.
_UPDATED_WITHIN = 600.0

#: Seconds for one step of an upgrade: a drain, a change of engine.
_STEP_WITHIN = 120.0

#: Seconds in which gossip and IPVS know of tasks that moved.
_SETTLED = 5.0

#: Seconds that a node is away. swarmkit's dispatcher gives it up after 13.5 to 16.5 s, or twice
#: that where a new leader has to find out first; the rest is for its tasks to start elsewhere and
#: for users to notice. In a shorter outage nothing may move.
_AWAY = 60.0

_MIB = 1 << 20

#: No program of this name is in any image: its task fails when it is started.
NO_PROGRAM = "/no-such-program-by-swarm-chaos"

Run = Callable[[Tried], AbstractContextManager[Effects]]
WhyNot = Callable[[Workload], str | None]


def _always(_: Workload) -> None:
    """Every stack can be put to it."""


def _nothing(_: Tried) -> None:
    """Nothing has to be made ready."""


@dataclass(frozen=True)
class Experiment:
    """One way to break the swarm under a stack.

    ``title`` completes a sentence of the answer's page. ``prepare`` is called before the stack is
    deployed. ``why_not`` returns why a stack cannot be put to it, or None. ``holds`` says whether
    it lasts by itself, so that nobody needs to wait. ``lasts`` is for how many seconds it does
    else, and users are watched after it, where the compose file says nothing of that.
    """

    title: str
    run: Run
    prepare: Callable[[Tried], None] = _nothing
    why_not: WhyNot = _always
    holds: bool = False
    lasts: float = 30.0


# -- what is lost ------------------------------------------------------------------------------


@contextmanager
def nothing(_: Tried) -> Iterator[Effects]:
    """Leave the stack alone: what it loses here, no fault has cost."""
    yield Effects()


@contextmanager
def leader_dockerd_killed(tried: Tried) -> Iterator[Effects]:
    """Kill the leader's dockerd; its containers live on."""
    with tried.faults.kill_dockerd(tried.swarm.leader) as kill:
        yield _away(kill.node, kill)


@contextmanager
def leader_node_killed(tried: Tried) -> Iterator[Effects]:
    """Kill the leader's node with all that runs on it."""
    with tried.faults.kill_node(tried.swarm.leader) as kill:
        yield _away(kill.node, kill)


@contextmanager
def worker_lost(tried: Tried) -> Iterator[Effects]:
    """Kill a worker's node; it comes back."""
    with tried.faults.kill_node(tried.victim) as kill:
        yield _away(kill.node, kill)


@contextmanager
def majority_of_managers_lost(tried: Tried) -> Iterator[Effects]:
    """Kill the leader's node and other managers' nodes, until no majority is left."""
    managers = [tried.swarm.leader, *tried.swarm.followers]
    with ExitStack() as stack:
        kills = [
            stack.enter_context(tried.faults.kill_node(node))
            for node in managers[: len(managers) // 2 + 1]
        ]
        yield Effects([Away(kill.node.name, kill.began) for kill in kills])


# -- the network -------------------------------------------------------------------------------


@contextmanager
def ten_percent_loss(tried: Tried) -> Iterator[Effects]:
    """Lose each tenth packet of a worker."""
    with tried.faults.network.loss(tried.victim, 0.10):
        yield Effects()


@contextmanager
def worker_cut_off(tried: Tried) -> Iterator[Effects]:
    """Let no packet to or from a worker pass; what runs there runs on."""
    worker = tried.victim
    with tried.faults.network.blackout(worker) as cut:
        yield _away(worker, cut)


# -- what an operator does ---------------------------------------------------------------------


@contextmanager
def worker_drained(tried: Tried) -> Iterator[Effects]:
    """Drain a worker, and make it active again."""
    worker = tried.victim
    tried.swarm.set_availability(worker, "drain")
    try:
        yield Effects()
    finally:
        tried.swarm.set_availability(worker, "active")


@contextmanager
def rolling_update(tried: Tried) -> Iterator[Effects]:
    """Replace every task of every service, in the way that the file says."""
    since = time.monotonic()
    services = [service.name for service in tried.lasting]
    for service in services:
        tried.web.redeploy(service)
    effects = Effects()
    yield effects
    effects.updated = slowest(
        tried.web.time_to_updated(service, within=_UPDATED_WITHIN, since=since)
        for service in services
    )


def break_spec(spec: dict[str, Any], config: Mapping[str, str]) -> None:
    """Give a service a command that does not exist; a failure of its update rolls it back.

    A spec without an update configuration is updated one task at a time (swarmkit api/defaults); in
    one that only names the failure action, the API takes a parallelism of 0, all at once.
    """
    spec["TaskTemplate"]["ContainerSpec"]["Command"] = [NO_PROGRAM]
    own = spec.get("UpdateConfig") or {"Parallelism": 1}
    spec["UpdateConfig"] = {**own, "FailureAction": "rollback", **config}


@contextmanager
def bad_update(tried: Tried, **config: str) -> Iterator[Effects]:
    """Update a service to a command that no image has: it is to be rolled back.

    ``config`` are keys of the API's UpdateConfig that it is to have besides those of the file.
    """
    service = tried.question.entry or tried.lasting[0].name

    since = time.monotonic()
    tried.web.change(service, partial(break_spec, config=config))
    effects = Effects()
    yield effects

    def rolled_back() -> bool | NotYet:
        try:
            state, message = tried.web.update_state(service)
        except NoAnswer as error:
            return NotYet(error.what)
        return state == "rollback_completed" or NotYet(f"the update is {state}: {message}")

    effects.rolled_back = time_until(
        rolled_back,
        state=f"the bad update of {service} to be rolled back",
        within=tried.question.back,
        every=0.5,
        since=since,
    )


@contextmanager
def upgrade(tried: Tried) -> Iterator[Effects]:
    """Take node after node to the next engine, the leader last of the managers, then workers."""
    [engine] = tried.other_engines
    swarm, effects = tried.swarm, Effects()
    for node in [*swarm.followers, swarm.leader, *swarm.workers]:
        began = tried.tasks.at(time.monotonic())
        swarm.set_availability(node, "drain")
        expect_state(
            partial(_drained, tried, node),
            state=f"{node.name} to be drained",
            within=_STEP_WITHIN,
            every=0.5,
        )
        tried.faults.process.change_engine(node, engine).inject().settle()
        expect_state(
            partial(_ready_with, tried, node, engine),
            state=f"{node.name} to be ready with engine {engine}",
            within=_STEP_WITHIN,
            every=0.5,
        )
        swarm.set_availability(node, "active")
        ended = tried.tasks.at(time.monotonic()) + _SETTLED
        effects.away.append(Away(node.name, began, ended))
    yield effects


# -- what a stack leans on ---------------------------------------------------------------------


@contextmanager
def log_collector_gone(tried: Tried) -> Iterator[Effects]:
    """Close the log collector's port, and have a task that logs to it die meanwhile."""
    service = tried.log_senders[0]
    node = tried.node_of_a_task(service)
    with tried.faults.service.refused(tried.sink):
        tried.faults.process.kill_task(node, f"{tried.question.name}_{service}").inject()
        yield Effects()


@contextmanager
def registry_gone(tried: Tried) -> Iterator[Effects]:
    """Drop all packets to the registry, and lose a worker meanwhile: its tasks have to move."""
    assert tried.registry is not None
    with (
        tried.faults.service.black_hole(tried.registry),
        tried.faults.kill_node(tried.victim) as kill,
    ):
        yield _away(kill.node, kill)


def own_disk(tried: Tried) -> None:
    """Put all of a worker's /var/lib/docker on a disk of its own, with room for the stack."""
    worker = tried.victim
    used = int(worker.run(["du", "-sk", "/var/lib/docker"]).text.split()[0]) << 10
    images = tried.folder / "images.tar"
    needed = used + 3 * (images.stat().st_size if images.exists() else 0)
    size = 2 * needed + 256 * _MIB
    tried.faults.resource.own_disk(worker, folder="docker", size=size).inject()
    tried.swarm.wait_for_ready([worker], within=_STEP_WITHIN)


@contextmanager
def disk_full(tried: Tried) -> Iterator[Effects]:
    """Fill the disk of a worker, and have all tasks replaced meanwhile."""
    with tried.faults.resource.fill_disk(tried.victim, folder="docker"):
        for service in tried.lasting:
            tried.web.redeploy(service.name)
        yield Effects()


# -- which stack can be put to what ------------------------------------------------------------


def _no_log_sender(workload: Workload) -> str | None:
    if any(map(sends_logs, workload.services)):
        return None
    return "no service sends its log lines to a collector (logging: driver: gelf)"


EXPERIMENTS: dict[str, Experiment] = {
    "nothing": Experiment("the stack is left alone", nothing),
    "leader-dockerd-killed": Experiment(
        "the leader's dockerd is killed and started again", leader_dockerd_killed, lasts=_AWAY
    ),
    "leader-node-killed": Experiment(
        "the leader's node loses its power and comes back", leader_node_killed, lasts=_AWAY
    ),
    "worker-lost": Experiment("a worker loses its power and comes back", worker_lost, lasts=_AWAY),
    "majority-of-managers-lost": Experiment(
        "so many managers lose their power that no majority is left, and come back",
        majority_of_managers_lost,
    ),
    "ten-percent-loss": Experiment("a worker loses 10 % of its packets", ten_percent_loss),
    "worker-cut-off": Experiment(
        "no packet to or from a worker passes, and then all do again", worker_cut_off, lasts=_AWAY
    ),
    "worker-drained": Experiment("a worker is drained and made active again", worker_drained),
    "rolling-update": Experiment("all tasks are replaced by a rolling update", rolling_update),
    "bad-update": Experiment(
        "an update to a command that does not exist, with failure_action: rollback",
        bad_update,
    ),
    "log-collector-gone": Experiment(
        "the log collector refuses connections while a task that logs to it dies",
        log_collector_gone,
        why_not=_no_log_sender,
    ),
    "registry-gone": Experiment(
        "the registry does not answer while a worker loses its power, and both come back",
        registry_gone,
        prepare=Tried.prefer_registry,
        lasts=_AWAY,
    ),
    "disk-full": Experiment(
        "the disk of a worker is full while all tasks are replaced", disk_full, prepare=own_disk
    ),
    "upgrade": Experiment(
        "node after node is drained and taken to the next engine", upgrade, holds=True
    ),
}


def not_applicable(
    workload: Workload, topology: Topology, *, next_engine: str | None
) -> dict[str, str]:
    """Return why a stack cannot be put to an experiment, by the experiment's name.

    Raises :class:`UsageError` for a swarm of one node, of which none can be lost.
    """
    if topology.managers + topology.workers < 2:
        raise UsageError(
            f"a swarm of {topology} has no node to lose", hint="try the stack on two nodes or more"
        )
    found = {name: each.why_not(workload) for name, each in EXPERIMENTS.items()}
    if next_engine is None:
        found["upgrade"] = "no release after this engine is known"
    return {name: reason for name, reason in found.items() if reason}


# -- within ------------------------------------------------------------------------------------


def _away(node: Node, fault: Fault) -> Effects:
    return Effects([Away(node.name, fault.began)])


def _drained(tried: Tried, node: Node) -> bool | NotYet:
    left = sum(task.node == node.name and task.running for task in tried.web.tasks())
    return NotYet(f"{left} tasks run on {node.name}") if left else True


def _ready_with(tried: Tried, node: Node, engine: str) -> bool | NotYet:
    try:
        member = tried.swarm.member(node)
    except NoAnswer as error:
        return NotYet(error.what)
    if not same_release(member.engine, engine):
        return NotYet(f"{node.name} is listed with engine {member.engine}")
    if member.role == "manager" and member.reachability != "reachable":
        return NotYet(f"{node.name} is {member.reachability}")
    return member.state == "ready" or NotYet(f"{node.name} is {member.state}")
