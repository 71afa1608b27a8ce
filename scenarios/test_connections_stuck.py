"""Whether a service can be connected to by name while its tasks are replaced, and what cures it.

It is the operator's own check (`echo > /dev/tcp/app/8000` in a container), done on every node ten
times a second: resolve the name, connect to what it leads to. With a virtual address the name
always resolves, and a task that died is seen by connections alone; with DNS round robin each
address that is given is connected to in its turn. Where connections do not come back by
themselves, the operator's cures are tried in his order (update the service, create it again,
reboot the node), and which of them works is a measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import pytest

from harness.faults import Fault, Faults
from harness.lab import Node
from harness.probes.ipvs import forget_services
from harness.probes.overlay_bridge import take_bridge_down
from harness.pytest_plugin import Probes
from harness.swarm import APP_IMAGE, APP_PORT, Deployment, Service, Swarm, UpdateConfig, Workload
from harness.trial import Expectation, Measures, Observation
from harness.wait import Elapsed, NotYet, expect_state

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("moby/moby#30134", "moby/moby#35548", "moby/moby#36940"),
]

TASKS = 2
ROUNDS = 2
EVERY = 0.1  # seconds between two connections of a node

BULK_SYNC = 60.0

#: Seconds after which gossip (8 s) and the dispatcher (16.5 s) have given a node up.
GIVEN_UP = 20.0

LONGEST = Expectation(
    "longest time a node cannot connect while tasks are replaced",
    unit="s",
    at_most=4,
    source="one task of two is always in service: swarm takes a task out 2 s before it stops it, "
    "and gossip has that at three nodes within 0.2 s; a connection that meets the moment in "
    "between fails, or hangs for the probe's 2 s, and the next one is made 0.1 s later",
    control=("test_control_balancer_emptied", "test_control_bridge_down"),
)
BACK = Expectation(
    "time until every node connects again after the last change",
    unit="s",
    at_most=BULK_SYNC,
    source="networkdb: a bulk sync every 30 s repairs what gossip lost, and its answer may take "
    "another 30 s",
    control=("test_control_balancer_emptied", "test_control_bridge_down"),
)
CURES_NEEDED = Expectation(
    "cures it took until every node connected",
    unit="cures",
    exactly=0,
    source="what swarm replaces it has to announce; 1: an update, 2: creating the service again, "
    "3: rebooting the node, 4: none of them",
    control=("test_control_balancer_emptied", "test_control_bridge_down"),
)
AFTER_CURE = Observation("time until every node connects after: {cure}", unit="s")

Endpoint = Literal["vip", "dnsrr"]
VIP = pytest.param("vip", marks=pytest.mark.needs("ip_vs"))


@pytest.mark.parametrize("endpoint", [VIP, "dnsrr"])
def test_tasks_are_replaced(
    endpoint: Endpoint, swarm: Swarm, faults: Faults, probes: Probes, measure: Measures
) -> None:
    """Update after update, every node connects at every moment."""
    web = swarm.deploy(two_tasks(endpoint))
    with connecting(web, probes):
        replaced(web)
        measure(BACK, connects(probes, within=BULK_SYNC))
        measure(LONGEST, probes.reachability.longest_outage())
        tried = cured(web, faults, probes)
    for cure, took in tried.items():
        measure(AFTER_CURE, took, cure=cure)
    measure(CURES_NEEDED, needed(tried), note=", ".join(tried))


@pytest.mark.thorough
@pytest.mark.parametrize("endpoint", [VIP, "dnsrr"])
@pytest.mark.parametrize("trouble", ["gossip-cut", "dockerd-killed"])
def test_tasks_are_replaced_meanwhile(
    endpoint: Endpoint,
    trouble: str,
    swarm: Swarm,
    faults: Faults,
    probes: Probes,
    measure: Measures,
) -> None:
    """A worker misses that tasks were replaced, and connects again by itself once it is back."""
    web, worker = swarm.deploy(two_tasks(endpoint)), swarm.a_worker()
    with connecting(web, probes):
        with afflicted(trouble, worker, faults) as outage:
            replaced(web, rounds=1)
            outage.hold(GIVEN_UP)
        measure(BACK, connects(probes, within=BULK_SYNC))
        tried = cured(web, faults, probes)
    for cure, took in tried.items():
        measure(AFTER_CURE, took, cure=cure)
    measure(CURES_NEEDED, needed(tried), note=", ".join(tried))


@pytest.mark.control
@pytest.mark.needs("ip_vs")
def test_control_balancer_emptied(
    swarm: Swarm, faults: Faults, probes: Probes, measure: Measures
) -> None:
    """A node's balancer forgets the service: nothing repairs that, and an update cures it."""
    web = swarm.deploy(two_tasks("vip"))
    with connecting(web, probes):
        forget_services(swarm.a_worker(), web.networks["web"])
        measure(BACK, connects(probes, within=BULK_SYNC))
        measure(LONGEST, probes.reachability.longest_outage())
        tried = cured(web, faults, probes)
    for cure, took in tried.items():
        measure(AFTER_CURE, took, cure=cure)
    measure(CURES_NEEDED, needed(tried), note=", ".join(tried))


@pytest.mark.control
def test_control_bridge_down(
    swarm: Swarm, faults: Faults, probes: Probes, measure: Measures
) -> None:
    """A node's bridge of the network is down: only a reboot makes another one."""
    web, worker = swarm.deploy(two_tasks("dnsrr", only_on="manager")), swarm.a_worker()
    with connecting(web, probes):
        take_bridge_down(worker, web.networks["web"])
        measure(BACK, connects(probes, within=BULK_SYNC))
        measure(LONGEST, probes.reachability.longest_outage())
        tried = cured(web, faults, probes)
    for cure, took in tried.items():
        measure(AFTER_CURE, took, cure=cure)
    measure(CURES_NEEDED, needed(tried), note=", ".join(tried))


def two_tasks(
    endpoint: Endpoint, *, only_on: Literal["manager", "worker"] | None = None
) -> Workload:
    """Return a service of two tasks that are replaced one after the other."""
    app = Service(
        "app",
        APP_IMAGE,
        ("web",),
        TASKS,
        APP_PORT,
        endpoint=endpoint,
        role=only_on,
        update=UpdateConfig(parallelism=1, delay=0.0, monitor=1.0),
    )
    return Workload("web", ("web",), (app,))


@contextmanager
def connecting(web: Deployment, probes: Probes) -> Iterator[None]:
    """Connect to the service by its name, on every node, all the time."""
    with (
        probes.discovery.watch(web, every=EVERY),
        probes.reachability.watch(web, every=EVERY, by_name=probes.discovery),
    ):
        expect_state(
            lambda: _connects(probes), state="every node to connect", within=30.0, every=0.2
        )
        yield


def _connects(probes: Probes) -> bool | NotYet:
    wrong = probes.reachability.wrong()
    return NotYet("; ".join(wrong)) if wrong else True


def replaced(web: Deployment, *, rounds: int = ROUNDS) -> None:
    """Replace all tasks of the service, so many times."""
    for _ in range(rounds):
        web.redeploy("app")
        web.time_to_updated("app", within=BULK_SYNC)


def afflicted(trouble: str, worker: Node, faults: Faults) -> Fault:
    """Keep a worker from hearing of what happens meanwhile."""
    if trouble == "dockerd-killed":
        return faults.kill_dockerd(worker)
    return faults.network.isolate(worker, plane="gossip")


def connects(probes: Probes, *, within: float) -> Elapsed:
    """Return how long until every node connects."""
    return probes.reachability.time_to_converged(within=within)


def cured(web: Deployment, faults: Faults, probes: Probes) -> dict[str, Elapsed]:
    """Try the operator's cures in turn while a node cannot connect; return what each brought."""
    tried: dict[str, Elapsed] = {}
    if connects(probes, within=5.0).reached:
        return tried
    for cure, apply in cures(web, faults, probes).items():
        apply()
        tried[cure] = connects(probes, within=BULK_SYNC)
        if tried[cure].reached:
            break
    return tried


def needed(tried: dict[str, Elapsed]) -> int:
    """Return how many cures it took, one more than there are if none of them worked."""
    return len(tried) + any(not took.reached for took in list(tried.values())[-1:])


def cures(web: Deployment, faults: Faults, probes: Probes) -> dict[str, Callable[[], None]]:
    """Return what each of the cures does, in the operator's order."""

    def create_again() -> None:
        web.remove("app")
        web.create_again("app")
        web.time_to_running("app", within=BULK_SYNC)
        probes.discovery.relearn()

    def reboot() -> None:
        stuck = {each.partition(" ")[0] for each in probes.reachability.wrong()}
        for name in sorted(stuck):
            with faults.host.reboot(web.swarm.lab.node(name), off=1.0):
                pass

    return {
        "update": lambda: replaced(web, rounds=1),
        "create again": create_again,
        "reboot": reboot,
    }
