"""Whether tasks get an image that only a private registry has, and what they say if they do not.

The registry is Debian's docker-registry with TLS and a password. Services are made by the docker
command on the manager, after `docker login` there, by `docker service create` and by
`docker stack deploy`: the operator's image ran by the first and not by the second. Nodes have no
use for logins of their own. What they pull with is in the service, if `--with-registry-auth` put it
there, and stays what it was when the password changes.

A node that has the image asks for it all the same, and runs what it has if it gets none: so each
task here is placed, or moved, where the image is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal

import pytest

from harness.faults import Fault, Faults
from harness.lab import Node
from harness.load import adopt, docker, have_tasks_pull, log_in
from harness.probes.tasks import Tasks
from harness.services.registry import Registry
from harness.services.services import Services
from harness.swarm import Deployment, Service, Swarm
from harness.trial import Expectation, Measures, Observation
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream(
        "moby/moby#31534", "moby/moby#36126", "moby/moby#31063", "moby/moby#24940"
    ),
]

Way = Literal["service", "stack"]
WAYS: tuple[Way, ...] = ("service", "stack")

AWAY = 20.0  # seconds that a registry fails with a task that wants its image: some four attempts

A_PULL = (
    "a manifest, a config and the layers from a registry next door, then a start; the rest is for "
    "a slow machine"
)
A_NEXT_TRY = (
    "swarmkit: a task that failed is tried again after 5 s, here on the only node that there is "
    f"for it; then {A_PULL}"
)

RUNS = Expectation(
    "time until the service made by {way} runs",
    unit="s",
    at_most=30,
    source=A_PULL,
    control="test_control_without_credentials",
)
TOLD = Expectation(
    "time until the task made by {way} has an error",
    unit="s",
    at_most=30,
    source="moby: the registry refuses at once, and the task fails by it",
    no_control="a task that runs has no error, and another measure says that it runs",
)
SAYS_WHY = Expectation(
    "services whose tasks say no more than that there is no such image",
    unit="services",
    exactly=0,
    source="moby#52698: a user reads the task's error, and not the worker's log",
    no_control="the known bug moby/moby#52698 breaks it with every engine so far",
)
MOVED = Expectation(
    "time until a moved task runs with the old password",
    unit="s",
    at_most=30,
    source=A_NEXT_TRY,
    no_control="the known bug moby/moby#36126 breaks it with every engine so far",
)
CURED = Expectation(
    "time until it runs after an update with the new one",
    unit="s",
    at_most=30,
    source=A_NEXT_TRY,
    no_control="the same check does not hold before the update, in the same trial",
)
AFTER_THE_HEAL = Expectation(
    "time until a moved task runs once the registry serves",
    unit="s",
    at_most=30,
    source=A_NEXT_TRY,
    control="test_control_still_refused",
)
TOUCHED = Expectation(
    "tasks elsewhere that ended meanwhile",
    unit="tasks",
    exactly=0,
    source="moby: a registry is asked for new tasks only; since 17.06 other credentials replace "
    "no task (swarmkit#2351)",
    control="test_control_redeployed",
)
SILENT = pytest.mark.known_bug("moby/moby#52698", engines="<29.6", measures=[SAYS_WHY])
WARNED = Observation("ways of deploying that warn of it", unit="1", better="higher")


def test_with_credentials(swarm: Swarm, services: Services, measure: Measures) -> None:
    """The same image runs by service and by stack, on a node that never had it."""
    registry = registry_with_login(swarm, services)
    for way in WAYS:
        made, _ = deployed(swarm, way, registry, credentials=True)
        measure(RUNS, made.time_to_running("app", within=RUNS.limit), way=way)
        # the next one is placed on the worker that does not have the image yet
        swarm.set_availability(node_of(swarm, made), "pause")


@SILENT
@pytest.mark.parametrize(
    "logged_in", ["on-the-manager", pytest.param("everywhere", marks=pytest.mark.thorough)]
)
def test_without_credentials(
    logged_in: str, swarm: Swarm, services: Services, measure: Measures
) -> None:
    """Without the flag no task runs, wherever somebody has logged in, and its user is told why."""
    registry = registry_with_login(swarm, services)
    if logged_in == "everywhere":
        for node in swarm.workers:
            log_in(node, registry.authority, registry.user, registry.password)
    made, warned = [], 0
    for way in WAYS:
        app, said = deployed(swarm, way, registry, credentials=False)
        measure(TOLD, time_to_told(app), way=way)
        warned += "could not be accessed on a registry" in said
        made.append(app)
    measure(WARNED, warned)
    silent = silent_services(made)
    measure(SAYS_WHY, len(silent), note="; ".join(silent))


@pytest.mark.known_bug("moby/moby#36126", measures=[MOVED])
def test_password_changes(
    swarm: Swarm, services: Services, faults: Faults, tasks: Tasks, measure: Measures
) -> None:
    """A task that moves after a change of the password runs, or does so by the documented cure."""
    registry = registry_with_login(swarm, services)
    app, elsewhere = one_to_move_and_one_elsewhere(swarm, registry)
    tasks.running("elsewhere")
    with faults.service.registry_password_changed(registry):
        move(swarm, app)
        measure(MOVED, app.time_to_running("app", within=MOVED.limit))
        log_in(swarm.leader, registry.authority, registry.user, registry.password)
        since = time.monotonic()
        for service in (app, elsewhere):
            update = ("service", "update", "--detach", "--with-registry-auth")
            docker(swarm.leader, *update, service.workload.name)
        measure(CURED, app.time_to_running("app", within=CURED.limit, since=since))
    measure(TOUCHED, ended(tasks, "elsewhere"))


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param("refused", marks=SILENT),
        pytest.param("403", marks=SILENT),
        *(
            pytest.param(each, marks=[SILENT, pytest.mark.thorough])
            for each in ("401", "404", "429", "503")
        ),
        *(pytest.param(each, marks=pytest.mark.thorough) for each in ("black-hole", "slow")),
    ],
)
def test_registry_fails(
    failure: str,
    swarm: Swarm,
    services: Services,
    faults: Faults,
    tasks: Tasks,
    measure: Measures,
) -> None:
    """A task that moves while the registry fails runs when it serves; others are not touched."""
    registry = registry_with_login(swarm, services)
    app, _ = one_to_move_and_one_elsewhere(swarm, registry)
    tasks.running("elsewhere")
    with failing(failure, registry, faults) as fault:
        move(swarm, app)
        fault.hold(AWAY)
        silent = silent_services([app])
    since = time.monotonic()
    measure(AFTER_THE_HEAL, app.time_to_running("app", within=AFTER_THE_HEAL.limit, since=since))
    if failure not in ("black-hole", "slow"):  # in which a task waits, and there is nothing to say
        measure(SAYS_WHY, len(silent), note="; ".join(silent))
    measure(TOUCHED, ended(tasks, "elsewhere"))


@pytest.mark.control
def test_control_without_credentials(swarm: Swarm, services: Services, measure: Measures) -> None:
    """Without credentials it runs by neither way, and the check says so."""
    registry = registry_with_login(swarm, services)
    for way in WAYS:
        made, _ = deployed(swarm, way, registry, credentials=False)
        measure(RUNS, made.time_to_running("app", within=RUNS.limit), way=way)


@pytest.mark.control
def test_control_still_refused(
    swarm: Swarm, services: Services, faults: Faults, measure: Measures
) -> None:
    """While the registry refuses, the moved task does not run."""
    registry = registry_with_login(swarm, services)
    app, _ = one_to_move_and_one_elsewhere(swarm, registry)
    with failing("403", registry, faults):
        move(swarm, app)
        measure(AFTER_THE_HEAL, app.time_to_running("app", within=AFTER_THE_HEAL.limit))


@pytest.mark.control
def test_control_redeployed(
    swarm: Swarm, services: Services, tasks: Tasks, measure: Measures
) -> None:
    """An update by force does replace tasks, and they are counted."""
    registry = registry_with_login(swarm, services)
    _, elsewhere = one_to_move_and_one_elsewhere(swarm, registry)
    tasks.running("elsewhere")
    elsewhere.redeploy("elsewhere")
    elsewhere.time_to_updated("elsewhere", within=60.0)
    measure(TOUCHED, ended(tasks, "elsewhere"))


STACK = """
version: "3"
services:
  app:
    image: {image}
    deploy:
      placement:
        constraints: [node.role == worker]
"""


def registry_with_login(swarm: Swarm, services: Services) -> Registry:
    """Start a registry with the app, have nodes pull, and log in there on the leader."""
    registry = services.registry(app="1")
    have_tasks_pull(swarm, swarm.lab.nodes.values())
    log_in(swarm.leader, registry.authority, registry.user, registry.password)
    return registry


def deployed(
    swarm: Swarm, way: Way, registry: Registry, *, credentials: bool
) -> tuple[Deployment, str]:
    """Deploy one task for the workers by the docker command; return it, and what was printed."""
    image, flags = registry.reference("app", "1"), ["--with-registry-auth"] if credentials else []
    app = Service("app", image, (), role="worker")
    if way == "service":
        options = ("--detach", "--name=app", "--constraint=node.role==worker")
        said = docker(swarm.leader, "service", "create", *flags, *options, image)
        return adopt(swarm, app), said
    compose = STACK.format(image=image)
    said = docker(
        swarm.leader, "stack", "deploy", *flags, "--compose-file=-", "stack", stdin=compose
    )
    return adopt(swarm, app, name="stack_app"), said


def one_to_move_and_one_elsewhere(
    swarm: Swarm, registry: Registry
) -> tuple[Deployment, Deployment]:
    """Deploy a task for the workers, and one for the manager, of the same image; they run."""
    app, _ = deployed(swarm, "service", registry, credentials=True)
    image = registry.reference("app", "1")
    options = ("--with-registry-auth", "--detach", "--constraint=node.role==manager")
    docker(swarm.leader, "service", "create", *options, "--name=elsewhere", image)
    elsewhere = adopt(swarm, Service("elsewhere", image, (), role="manager"))
    for each in (app, elsewhere):
        each.wait_running(60.0)
    return app, elsewhere


def move(swarm: Swarm, app: Deployment) -> None:
    """Drain the node of a service's one task: it moves to the worker without the image."""
    swarm.set_availability(node_of(swarm, app), "drain")


def node_of(swarm: Swarm, app: Deployment) -> Node:
    """Return the node of a service's one task."""
    [task] = [task for task in app.tasks("app") if task.running]
    return swarm.lab.node(task.node)


def failing(failure: str, registry: Registry, faults: Faults) -> Fault:
    """Have the registry fail: an HTTP status, or another way."""
    service = faults.service
    if failure == "refused":
        return service.refused(registry)
    if failure == "black-hole":
        return service.black_hole(registry)
    if failure == "slow":
        return service.registry_slow(registry, delay=AWAY)
    return service.registry_answers(registry, status=int(failure))


def ended(tasks: Tasks, service: str) -> int:
    """Return how many of a service's containers have ended since tasks were looked at first."""
    return sum(life.ended is not None for life in tasks.lives(service))


def time_to_told(made: Deployment) -> Elapsed:
    """Return how long until a task has an error."""

    def told() -> bool | NotYet:
        return any(task.error for task in made.tasks()) or NotYet("no task has an error")

    return time_until(told, state="an error", within=TOLD.limit, every=0.5)


def silent_services(made: Iterable[Deployment]) -> list[str]:
    """Return the services no task of which has said more than that there is no such image."""
    silent = []
    for each in made:
        errors = {task.error for task in each.tasks() if task.error}
        if all(error.startswith("No such image") for error in errors):
            silent.append(f"{each.workload.name}: {', '.join(sorted(errors)) or 'no error'}")
    return silent
