"""Whether global services run on nodes that join later, whatever became of their image meanwhile.

Two global services have an image of a private registry, one by its tag (which the docker command
pins to the digest of that moment) and one by its digest alone. Then the tag is moved to another
image, or the manifest is deleted, or the registry is gone; and spare nodes join, which have never
had the image. Engines of 2017 asked the registry for the tag, got another image than the pinned
one, and said "manifest verification failed" on every new node (moby#33165).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import pytest

from harness.faults import Fault, Faults
from harness.lab import Node
from harness.load import adopt, docker, have_tasks_pull, log_in
from harness.probes.logs import DockerdLogs
from harness.services.registry import Registry
from harness.services.services import Services
from harness.swarm import Deployment, Service, Swarm
from harness.trial import Expectation, Measures, Observation
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2, spares=2),
    pytest.mark.upstream("moby/moby#33165", "moby/moby#33214"),
]

SERVICES = ("by-tag", "by-digest")
AWAY = 20.0  # seconds that a registry is away with nodes that want an image: some four attempts

A_PULL = (
    "a node joins in seconds; then a manifest, a config and the layers from a registry next door, "
    "and a start; the rest is for a slow machine"
)

RUNS = Expectation(
    "time until every global service runs on the new nodes",
    unit="s",
    at_most=60,
    source=A_PULL,
    control="test_control_registry_down",
)
OTHER_IMAGE = Expectation(
    "tasks on new nodes with another image than the pinned one",
    unit="tasks",
    exactly=0,
    source="moby#33214: since 17.06 a digest is asked for before a tag",
    control="test_control_not_pinned",
)
SAYS_WHY = Expectation(
    "services whose tasks do not say on new nodes what the registry said",
    unit="services",
    exactly=0,
    source="moby#52698: a user reads the task's error, not the worker's log",
    no_control="the known bug moby/moby#52698 breaks it with every engine so far",
)
AFTER_THE_HEAL = Expectation(
    "time until every global service runs on the new nodes once the image is there again",
    unit="s",
    at_most=30,
    source="swarmkit: a task that failed is tried again after 5 s; then a pull and a start",
    control="test_control_registry_down",
)
VERIFICATION = Observation("log lines about a failed verification", unit="lines")


@pytest.mark.parametrize("tag", ["stays", "moved"])
def test_nodes_join(
    tag: str,
    swarm: Swarm,
    services: Services,
    faults: Faults,
    dockerd_logs: DockerdLogs,
    measure: Measures,
) -> None:
    """Every global service runs on the new nodes, with the image that it was pinned to."""
    registry, made = two_global_services(swarm, services)
    digest = registry.tags("app")["1"]
    with moved(registry, faults) if tag == "moved" else nullcontext():
        since = time.monotonic()
        new = join_spares(swarm)
        measure(RUNS, time_to_all_running(made, since=since, within=RUNS.limit))
        measure(OTHER_IMAGE, tasks_of_another_image(new, digest))
    measure(VERIFICATION, dockerd_logs.count("wrong manifest"))


@pytest.mark.known_bug("moby/moby#52698", engines="<29.6", measures=[SAYS_WHY])
@pytest.mark.parametrize(
    "state", ["manifest-lost", pytest.param("down", marks=pytest.mark.thorough)]
)
def test_image_is_gone(
    state: str, swarm: Swarm, services: Services, faults: Faults, measure: Measures
) -> None:
    """New nodes without the image say why, and run every service when it is there again."""
    registry, made = two_global_services(swarm, services)
    digest = registry.tags("app")["1"]
    with gone(state, registry, faults) as away:
        new = join_spares(swarm)
        away.hold(AWAY)
        silent = silent_services(made)
        measure(SAYS_WHY, len(silent), note="; ".join(silent))
    measure(AFTER_THE_HEAL, time_to_all_running(made, within=AFTER_THE_HEAL.limit))
    measure(OTHER_IMAGE, tasks_of_another_image(new, digest))


@pytest.mark.control
def test_control_registry_down(
    swarm: Swarm, services: Services, faults: Faults, measure: Measures
) -> None:
    """While the registry is down no new node has the image, and the checks say so."""
    registry, made = two_global_services(swarm, services)
    with gone("down", registry, faults):
        join_spares(swarm)
        never = time_to_all_running(made, within=RUNS.limit)
        measure(RUNS, never)
        measure(AFTER_THE_HEAL, never)


@pytest.mark.control
def test_control_not_pinned(
    swarm: Swarm, services: Services, faults: Faults, measure: Measures
) -> None:
    """A service that is not pinned runs with what the tag names by then, and it is seen."""
    registry, _ = two_global_services(swarm, services)
    digest = registry.tags("app")["1"]
    image = registry.reference("app", "1")
    made = created(swarm, "not-pinned", image, "--no-resolve-image")
    with moved(registry, faults):
        new = join_spares(swarm)
        time_to_all_running([made], within=RUNS.limit)
        measure(OTHER_IMAGE, tasks_of_another_image(new, digest))


def two_global_services(swarm: Swarm, services: Services) -> tuple[Registry, list[Deployment]]:
    """Create the services on the nodes there are, from a registry with two images."""
    registry = services.registry(app="1")
    have_tasks_pull(swarm, swarm.lab.nodes.values())
    services.publish(registry, "resolver", "app", "2")
    log_in(swarm.leader, registry.authority, registry.user, registry.password)
    tagged = registry.reference("app", "1")
    digest = f"{registry.authority}/app@{registry.tags('app')['1']}"
    made = [
        created(swarm, name, image) for name, image in zip(SERVICES, (tagged, digest), strict=True)
    ]
    for each in made:
        each.wait_running(60.0)
    return registry, made


def created(swarm: Swarm, name: str, image: str, *options: str) -> Deployment:
    """Create a global service by the docker command, with the credentials that it has."""
    flags = ("--mode=global", "--with-registry-auth", "--detach", f"--name={name}", *options)
    docker(swarm.leader, "service", "create", *flags, image)
    return adopt(swarm, Service(name, image, (), replicas=None))


def moved(registry: Registry, faults: Faults) -> Fault:
    """Have the tag name the other image."""
    return faults.service.registry_tag_moved(registry, repository="app", tag="1", to="2")


def gone(state: str, registry: Registry, faults: Faults) -> Fault:
    """Have the registry lose the image's manifest, or refuse connections."""
    if state == "down":
        return faults.service.refused(registry)
    return faults.service.registry_manifest_lost(registry, repository="app", tag="1")


def join_spares(swarm: Swarm) -> list[Node]:
    """Have all spares join as workers; return them when they are ready."""
    spares = [node for node in swarm.lab.nodes.values() if node.planned_role == "spare"]
    token = swarm.ask(lambda api: api.api.inspect_swarm())["JoinTokens"]["Worker"]
    for node in spares:
        swarm.join(node, token=token, through=swarm.leader)
    swarm.wait_for_ready(spares)
    return spares


def time_to_all_running(
    made: Iterable[Deployment], *, within: float, since: float | None = None
) -> Elapsed:
    """Return how long until every service runs on every node."""

    def running() -> bool | NotYet:
        for each in made:
            for service in each.services:
                if isinstance(answer := each.running(service), NotYet):
                    return answer
        return True

    return time_until(running, state="every service to run", within=within, every=0.5, since=since)


def tasks_of_another_image(nodes: Iterable[Node], digest: str) -> int:
    """Return how many tasks' containers on nodes have an image that was not pulled by a digest."""
    wrong = 0
    for node in nodes:
        api: Any = node.docker.api
        for container in api.containers():
            if "com.docker.swarm.service.id" in container["Labels"]:
                image = api.inspect_image(container["ImageID"])
                wrong += all(not name.endswith(digest) for name in image["RepoDigests"])
    return wrong


def silent_services(made: Iterable[Deployment]) -> list[str]:
    """Return the services no task of which has said more than that there is no such image."""
    silent = []
    for each in made:
        errors = {task.error for task in each.tasks() if task.error}
        if all(error.startswith("No such image") for error in errors):
            silent.append(f"{each.workload.name}: {', '.join(sorted(errors)) or 'no error'}")
    return silent
