"""A workload on a swarm: created, converged, asked about its tasks."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from docker.types import (
    EndpointSpec,
    IPAMConfig,
    IPAMPool,
    NetworkAttachmentConfig,
    RestartPolicy,
    ServiceMode,
)

from harness.errors import SwarmError, WaitTimeout
from harness.lab import ClientHost, Node, probe_features
from harness.swarm.client import NoAnswer
from harness.swarm.workload import PublishMode, Service, Workload, identity
from harness.wait import Deadline, Elapsed, NotYet, time_until, wait_for

if TYPE_CHECKING:
    from harness.swarm.swarm import Swarm

_NANO = 1_000_000_000


@dataclass(frozen=True)
class Task:
    """A task as a manager's API lists it. ``message`` and ``error`` are what a user is told.

    ``addresses`` are those it was given on networks, with their prefix length.
    """

    id: str
    service: str
    slot: int | None
    node: str
    state: str
    desired: str
    created: str
    message: str
    error: str
    addresses: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether it runs and is meant to."""
        return self.state == "running" and self.desired == "running"


class Deployment:
    """A workload that has been created on a swarm."""

    def __init__(self, swarm: Swarm, workload: Workload, *, mesh: bool) -> None:
        self.swarm = swarm
        self.workload = workload
        self.mesh = mesh
        self.path = workload.path
        self.services: dict[str, str] = {}
        self.networks: dict[str, str] = {}

    @property
    def entries(self) -> Mapping[str, str]:
        """Where the outside enters: node name -> base URL."""
        if self.workload.entry is None:
            return {}
        entry = self.workload.service(self.workload.entry)
        return {
            node.name: f"http://{node.address}:{entry.published}"
            for node in self.swarm.lab.nodes.values()
            if entry.may_run_on(node.planned_role)
        }

    def tasks(self, service: str | None = None, by: Node | None = None) -> list[Task]:
        """Its tasks, those that are over too; :class:`NoAnswer` when no manager answers."""
        names = {id_: name for name, id_ in self.services.items()}
        nodes = {m.id: m.name for m in self.swarm.members(by)}
        listed = self.swarm.ask(lambda api: api.api.tasks(), by=by)
        tasks = [
            Task(
                id=attrs["ID"],
                service=names[attrs["ServiceID"]],
                slot=attrs.get("Slot"),
                node=nodes.get(attrs.get("NodeID", ""), ""),
                state=attrs["Status"]["State"],
                desired=attrs["DesiredState"],
                created=attrs["CreatedAt"],
                message=attrs["Status"].get("Message", ""),
                error=attrs["Status"].get("Err", ""),
                addresses=tuple(
                    address
                    for attachment in attrs.get("NetworksAttachments") or ()
                    for address in attachment.get("Addresses") or ()
                ),
            )
            for attrs in listed
            if attrs.get("ServiceID") in names
        ]
        wanted = [task for task in tasks if service is None or task.service == service]
        return sorted(wanted, key=lambda t: (t.service, t.slot or 0, t.created, t.id))

    def running(self, service: str, *, avoiding: Node | None = None) -> bool | NotYet:
        """Whether a service has all its replicas running, none counted on ``avoiding``."""
        try:
            tasks = self.tasks(service)
        except NoAnswer as error:
            return NotYet(error.what)
        here = [t for t in tasks if t.running and not (avoiding and t.node == avoiding.name)]
        wanted = self._wanted(service)
        if len(here) >= wanted:
            return True
        late = [t for t in tasks if t.desired == "running" and not t.running]
        states = ", ".join(f"{t.state}{f' ({t.error})' if t.error else ''}" for t in late)
        return NotYet(f"{service}: {len(here)} of {wanted} running; {states or 'none under way'}")

    def time_to_running(
        self,
        service: str,
        *,
        within: float,
        avoiding: Node | None = None,
        since: float | None = None,
    ) -> Elapsed:
        """How long until a service has all its replicas running, none counted on ``avoiding``."""
        return time_until(
            partial(self.running, service, avoiding=avoiding),
            state=f"all tasks of {service} to run",
            within=within,
            every=0.5,
            since=since,
        )

    def wait_running(self, within: float) -> None:
        """Wait until every service has all its replicas running."""
        deadline = Deadline(within)
        for name in self.services:
            wait_for(
                partial(self.running, name),
                state=f"all tasks of {name} to run",
                within=deadline.remaining,
                every=0.5,
            )

    def wait_serving(self, site: ClientHost, within: float) -> None:
        """Wait until every entry answers 200, asked from ``site``."""
        deadline = Deadline(within)
        for name, url in self.entries.items():
            wait_for(
                partial(site.network.call, partial(_answers, url, self.path)),
                state=f"{self.workload.name} to answer at {name} ({url})",
                within=deadline.remaining,
                every=0.2,
            )

    def _wanted(self, name: str) -> int:
        service = self.workload.service(name)
        if service.replicas is not None and not (service.replicas and self._is_global(service)):
            return service.replicas
        nodes = self.swarm.lab.nodes.values()
        return sum(1 for node in nodes if service.may_run_on(node.planned_role))

    def publish_mode(self, service: Service) -> PublishMode:
        """How a service's port is published here."""
        return service.publish_mode or ("ingress" if self.mesh else "host")

    def _is_global(self, service: Service) -> bool:
        on_every_node = service.published is not None and service.publish_mode is None
        return service.replicas is None or (on_every_node and not self.mesh)


def create(swarm: Swarm, workload: Workload) -> Deployment:
    """Create networks and services and wait for nothing; :class:`NoAnswer` if one is refused."""
    made = Deployment(swarm, workload, mesh=probe_features().mesh)
    for name in workload.networks:
        made.networks[name] = _create_network(swarm, name, workload.subnets.get(name))
    for service in workload.services:
        made.services[service.name] = _create(swarm, service, made)
    return made


def deploy(swarm: Swarm, workload: Workload, *, within: float) -> Deployment:
    """Create networks and services, wait until all tasks run and every entry answers.

    Raises :class:`SwarmError` with what was missing when it does not come to serve in time.
    """
    deadline = Deadline(within)
    try:
        made = create(swarm, workload)
        made.wait_running(deadline.remaining)
        if workload.entry is not None:
            made.wait_serving(swarm.lab.client_host(), deadline.remaining)
    except (NoAnswer, WaitTimeout) as error:
        raise SwarmError(f"the workload {workload.name} did not come to serve: {error}") from error
    swarm.note(
        "workload.deployed",
        workload=workload.name,
        services={s.name: made._wanted(s.name) for s in workload.services},
        entries=dict(made.entries),
        mesh=made.mesh,
    )
    return made


def _create_network(swarm: Swarm, name: str, subnet: str | None) -> str:
    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]) if subnet else None
    created = swarm.ask(
        lambda api: api.networks.create(name, driver="overlay", attachable=True, ipam=ipam)
    )
    return str(created.id)


def _create(swarm: Swarm, service: Service, made: Deployment) -> str:
    ports: Any = None
    if service.published is not None:
        ports = {service.published: _published(service.port, made.publish_mode(service))}
    everywhere = made._is_global(service)
    told = identity(node.engine.version for node in swarm.lab.nodes.values())
    kwargs: dict[str, Any] = {
        "image": service.image,
        "name": service.name,
        "env": [f"{key}={value}" for key, value in {**told, **service.env}.items()],
        "mode": ServiceMode("global")
        if everywhere
        else ServiceMode("replicated", replicas=service.replicas),
        "networks": [NetworkAttachmentConfig(made.networks[name]) for name in service.networks],
        "constraints": service.placement,
        "endpoint_spec": EndpointSpec(mode="vip" if made.mesh else "dnsrr", ports=ports),
        "restart_policy": RestartPolicy(condition="any", delay=int(service.restart_delay * _NANO)),
        "stop_grace_period": int(service.stop_grace * _NANO),
    }
    if service.command:
        kwargs["command"] = list(service.command)
    if service.log is not None:
        kwargs["log_driver"] = service.log.name
        kwargs["log_driver_options"] = dict(service.log.options)
    created = swarm.ask(lambda api: api.services.create(**kwargs))
    return str(created.id)


def _published(port: int | None, mode: PublishMode) -> tuple[int | str | None, ...]:
    """A port as the SDK takes it. "ingress" goes without saying: with engines before 17.09 the SDK
    refuses to say how a port is published, though they know of it."""
    return (port, "tcp") if mode == "ingress" else (port, "tcp", mode)


def _answers(url: str, path: str) -> bool | NotYet:
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=3)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return NotYet(f"{type(error).__name__}: {error}")
    finally:
        connection.close()
    return True if status == http.HTTPStatus.OK else NotYet(f"it answers {status}")
