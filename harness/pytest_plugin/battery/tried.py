"""A stack while it is tried: deployed with what it leans on, asked by users, watched."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from harness.errors import SwarmError
from harness.images import WORKLOAD_TAGS
from harness.load import Request, Requests, have_tasks_pull, log_in
from harness.pytest_plugin.battery.question import Question, read_question
from harness.pytest_plugin.battery.shortfall import Shortfall
from harness.swarm import LogDriver, Service, Stack, as_stack, stack
from harness.swarm.image_seed import load_into
from harness.wait import Elapsed, expect_state

if TYPE_CHECKING:
    from harness.faults import Faults
    from harness.lab import Node
    from harness.load import Load, Traffic
    from harness.probes.tasks import Tasks
    from harness.services.gelf_sink import GelfSink
    from harness.services.registry import Registry
    from harness.services.services import Services
    from harness.swarm import Deployment, Swarm

COMPOSE = "compose.yml"
ASKED = "asked.json"
IMAGES = "images.tar"

#: Seconds for a stack to be deployed and run; images may have to be pulled.
_SERVES_WITHIN = 300.0


@dataclass(frozen=True)
class Away:
    """A node that an experiment took away, from ``since`` to ``until`` (trial seconds)."""

    node: str
    since: float
    until: float = math.inf

    def concerns(self, request: Request) -> bool:
        """Return whether a request went to the node while it was away: it says nothing."""
        return request.entry == self.node and self.since <= request.t < self.until


@dataclass
class Effects:
    """What an experiment did that its measures have to know."""

    away: list[Away] = field(default_factory=list)
    updated: Elapsed | None = None
    """How long the rolling update took, if there was one."""
    rolled_back: Elapsed | None = None
    """How long it took until an update that cannot work was rolled back."""

    def of_users(self, traffic: Traffic) -> Requests:
        """Return the requests that count: those to nodes that the experiment had not taken away."""
        return Requests(
            each for each in traffic.requests if not any(away.concerns(each) for away in self.away)
        )


class Tried:
    """The stack of a battery's folder on a swarm, with a trial's fixtures at hand."""

    def __init__(
        self,
        folder: Path,
        *,
        swarm: Swarm,
        load: Load,
        faults: Faults,
        services: Services,
        tasks: Tasks,
        other_engines: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.question: Question = read_question(folder / ASKED)
        self.swarm = swarm
        self.load = load
        self.faults = faults
        self.services = services
        self.tasks = tasks
        self.other_engines = other_engines
        self.registry: Registry | None = None
        self._web: Deployment | None = None

    @property
    def web(self) -> Deployment:
        """The stack, once it is deployed."""
        assert self._web is not None, "deploy it first"
        return self._web

    @cached_property
    def sink(self) -> GelfSink:
        """The log collector of the lab, which stands in for the stack's own."""
        return self.services.gelf_sink("logs")

    @cached_property
    def victim(self) -> Node:
        """The worker to break: the one that runs most tasks of the stack.

        The seed decides between equals, and among all before the stack is deployed. A follower
        where there is no worker.
        """
        nodes = self.swarm.workers or self.swarm.followers
        self.swarm.random.shuffle(nodes)
        tasks = self._web.tasks() if self._web is not None else []
        on = Counter(task.node for task in tasks if task.running)
        return max(nodes, key=lambda node: on[node.name])

    @property
    def log_senders(self) -> list[str]:
        """The services whose lines go to a log collector."""
        return [service.name for service in self.web.workload.services if sends_logs(service)]

    def prefer_registry(self) -> None:
        """Have nodes pull the stack's images from a registry of the lab; before it is deployed.

        A node then has those images that its tasks brought, and no others.
        """
        self.registry = self.services.registry("registry")
        have_tasks_pull(self.swarm, self.swarm.lab.nodes.values())
        for node in self.swarm.managers:
            log_in(node, self.registry.authority, self.registry.user, self.registry.password)

    def deploy(self) -> Deployment:
        """Deploy the stack by the command line, its images in reach, and wait until it runs."""
        images = self.folder / IMAGES
        if self.registry is None and images.exists():
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda node: load_into(node, images), self.swarm.lab.nodes.values()))
        self._web = self.swarm.deploy(self._stack(), within=_SERVES_WITHIN)
        return self._web

    @contextmanager
    def users(self) -> Iterator[Traffic | None]:
        """Have users ask every node at the stack's port; None without such a port."""
        asked = self.question
        if asked.entry is None:
            yield None
            return
        nodes = self.swarm.lab.nodes.values()
        target = SimpleNamespace(
            entries={node.name: f"http://{node.address}:{asked.port}" for node in nodes},
            path=asked.path,
        )
        with self.load.http(target, users=asked.users) as traffic:
            yield traffic

    @property
    def lasting(self) -> list[Service]:
        """The services that are to run for good: jobs end."""
        return [service for service in self.web.workload.services if service.job is None]

    def running_tasks(self) -> set[str]:
        """Return the ids of the tasks that run, as the managers list them."""
        return {task.id for task in self.web.tasks() if task.running}

    def time_to_complete(self, *, since: float) -> Elapsed:
        """Measure from ``since`` (monotonic) until all tasks of all services run."""
        return slowest(
            self.web.time_to_running(service.name, within=self.question.back, since=since)
            for service in self.lasting
        )

    def wait_incomplete(self) -> None:
        """Wait until a service lacks a task: a change begins to show."""
        expect_state(
            lambda: any(self.web.running(service.name) is not True for service in self.lasting),
            state="a service of the stack to lack a task",
            within=self.question.back,
            every=0.2,
        )

    def shortfall(self, effects: Effects, wanted: dict[str, int], *, since: float) -> Shortfall:
        """Return what was missing of ``wanted`` tasks by service since then (trial seconds).

        A global service wants none on a node that the experiment took away.
        """
        now = self.tasks.at(time.monotonic())
        gone = {away.node for away in effects.away}
        found = []
        for service in self.lasting:
            lives = self.tasks.lives(f"{self.question.name}_{service.name}")
            number = wanted[service.name]
            if service.replicas is None:
                there = {life.node for life in lives if life.runs_at(since)}
                number -= len(gone & there)
                lives = [life for life in lives if life.node not in gone]
            found.append(Shortfall.of(lives, number, since=since, until=now))
        return Shortfall(sum(each.most for each in found), max(each.seconds for each in found))

    def node_of_a_task(self, service: str) -> Node:
        """Return a node that runs a task of a service; :class:`SwarmError` if none does."""
        for task in self.web.tasks(service):
            if task.running and task.node:
                return self.swarm.lab.node(task.node)
        raise SwarmError(f"no task of {service} runs")

    # -- within --------------------------------------------------------------------------------

    def _stack(self) -> Stack:
        written = stack(self.folder / COMPOSE, name=self.question.name)
        services = written.workload.services
        if self.registry is None and not any(map(sends_logs, services)):
            return written
        changed = tuple(self._from_registry(self._logging_here(service)) for service in services)
        options = ("--with-registry-auth",) if self.registry else ()
        return as_stack(replace(written.workload, services=changed), options=options)

    def _logging_here(self, service: Service) -> Service:
        if service.log is None or not sends_logs(service):
            return service
        options = dict(service.log.options)
        protocol = "tcp" if options.get("gelf-address", "").startswith("tcp") else "udp"
        return replace(
            service,
            log=LogDriver("gelf", options | self.sink.options(protocol)),  # type: ignore[arg-type]
        )

    def _from_registry(self, service: Service) -> Service:
        if self.registry is None:
            return service
        name, _, tag = service.image.rpartition(":")
        if "/" in tag or not name:
            name, tag = service.image, "latest"
        archive = self.folder / IMAGES
        if service.image in WORKLOAD_TAGS.values():
            workload = next(w for w, tagged in WORKLOAD_TAGS.items() if tagged == service.image)
            self.services.publish(self.registry, workload, _path(name), tag)
        else:
            self.registry.publish(archive, f"{name}:{tag}", _path(name), tag)
        return replace(service, image=self.registry.reference(_path(name), tag))


def sends_logs(service: Service) -> bool:
    """Return whether a service's lines go to a log collector that the lab can stand in for."""
    return service.log is not None and service.log.name == "gelf"


def slowest(times: Iterator[Elapsed] | list[Elapsed]) -> Elapsed:
    """Return the longest time; one that did not come to its end, if there is such."""
    return max(times, key=lambda each: (not each.reached, each.seconds))


def _path(name: str) -> str:
    """Return an image's name without the registry that it may begin with."""
    first, slash, rest = name.partition("/")
    return rest if slash and ("." in first or ":" in first or first == "localhost") else name
