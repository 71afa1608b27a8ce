"""A workload on a swarm: created, converged, asked about its tasks."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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

from harness.errors import SwarmError, UsageError, WaitTimeout
from harness.lab import ClientHost, Node, probe_features
from harness.swarm.client import NoAnswer
from harness.swarm.workload import PublishMode, Service, Workload, identity
from harness.wait import Deadline, Elapsed, Moment, NotYet, expect_state, time_until, wait_for

if TYPE_CHECKING:
    from harness.swarm.swarm import Swarm

#: Seconds for a manager to take a change: a request waits for a leader for that long
#: (moby daemon/cluster, swarmRequestTimeout is 20 s), and it is tried twice.
_TAKEN_WITHIN = 45.0

#: What no node has: a service that runs on every node or on none (host-mode ports, where there is
#: no routing mesh) is scaled to 0 by asking for it.
_NOWHERE = "node.labels.swarm-chaos.nowhere==true"

Edit = Callable[[dict[str, Any]], None]

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
        since: Moment | None = None,
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
            expect_state(
                partial(self.running, name),
                state=f"all tasks of {name} to run",
                within=deadline.remaining,
                every=0.5,
            )

    def wait_serving(self, site: ClientHost, within: float) -> None:
        """Wait until every entry answers 200, asked from ``site``."""
        deadline = Deadline(within)
        for name, url in self.entries.items():
            expect_state(
                partial(site.network.call, partial(_answers, url, self.path)),
                state=f"{self.workload.name} to answer at {name} ({url})",
                within=deadline.remaining,
                every=0.2,
            )

    def change(self, service: str, edit: Edit, *, within: float = _TAKEN_WITHIN) -> None:
        """Edit a service's spec in place, in the API's form, and submit it.

        Retry for ``within`` seconds when somebody else wrote in between or no manager answers;
        then raise :class:`SwarmError` with the last answer.
        """
        id_ = self._id_of(service)

        def taken() -> bool | NotYet:
            try:
                found = self.swarm.ask(lambda api: api.api.inspect_service(id_))
                spec = found["Spec"]
                edit(spec)
                self.swarm.ask(
                    lambda api: api.api.update_service(
                        id_,
                        found["Version"]["Index"],
                        task_template=spec["TaskTemplate"],
                        name=spec["Name"],
                        labels=spec.get("Labels"),
                        mode=spec.get("Mode"),
                        update_config=spec.get("UpdateConfig"),
                        endpoint_spec=spec.get("EndpointSpec"),
                        rollback_config=spec.get("RollbackConfig"),
                    )
                )
            except NoAnswer as error:
                return NotYet(error.what)
            return True

        try:
            wait_for(taken, state=f"the change of {service}", within=within, every=0.5)
        except WaitTimeout as error:
            raise SwarmError(f"no manager took the change of {service}: {error.last}") from error

    def redeploy(self, service: str) -> None:
        """Replace all of a service's tasks, the spec unchanged (``service update --force``)."""

        def edit(spec: dict[str, Any]) -> None:
            template = spec["TaskTemplate"]
            template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1

        self.change(service, edit)

    def scale(self, service: str, replicas: int) -> None:
        """Give a service another number of replicas.

        One that runs on every node can only be scaled to 0 and back; :class:`UsageError` otherwise.
        """
        if replicas < 0:
            raise UsageError(f"service {service}: {replicas} replicas cannot be")
        description = self.workload.service(service)

        def edit(spec: dict[str, Any]) -> None:
            if "Replicated" in spec["Mode"]:
                spec["Mode"]["Replicated"]["Replicas"] = replicas
                return
            if description.replicas is None and replicas:
                raise UsageError(f"{service} runs on every node: it has no number of replicas")
            placement = spec["TaskTemplate"].setdefault("Placement", {})
            others = [c for c in placement.get("Constraints") or [] if c != _NOWHERE]
            placement["Constraints"] = others if replicas else [*others, _NOWHERE]

        self.change(service, edit)
        self._redescribe(replace(description, replicas=replicas))

    def publish(self, service: str, port: int | None) -> None:
        """Publish a service by another port of the nodes, or by none."""
        description = self.workload.service(service)
        if port is not None and description.port is None:
            raise UsageError(f"service {service} has no port to publish")
        redescribed = replace(description, published=port)  # refuses a port that is none

        def edit(spec: dict[str, Any]) -> None:
            ports = [
                {
                    "Protocol": "tcp",
                    "TargetPort": description.port,
                    "PublishedPort": port,
                    "PublishMode": self.publish_mode(description),
                }
            ]
            spec["EndpointSpec"] = {
                **(spec.get("EndpointSpec") or {}),
                "Ports": ports if port else [],
            }

        self.change(service, edit)
        self._redescribe(redescribed)

    def remove(self, service: str) -> None:
        """Remove a service; its tasks end on their own. It stays in the description."""
        self.swarm.ask(lambda api: api.api.remove_service(self._id_of(service)))
        del self.services[service]

    def update_state(self, service: str) -> tuple[str, str]:
        """State and message of a service's last update ("" before the orchestrator has begun)."""
        id_ = self._id_of(service)
        found = self.swarm.ask(lambda api: api.api.inspect_service(id_))
        status = found.get("UpdateStatus") or {}
        return str(status.get("State", "")), str(status.get("Message", ""))

    def time_to_updated(
        self, service: str, *, within: float, since: Moment | None = None
    ) -> Elapsed:
        """How long until the orchestrator calls a service's last update completed.

        For changes that replace tasks; :meth:`scale` starts no update. ``since`` is a reading of
        the monotonic clock (default: now).
        """

        def updated() -> bool | NotYet:
            try:
                state, message = self.update_state(service)
            except NoAnswer as error:
                return NotYet(error.what)
            return state == "completed" or NotYet(f"the update is {state or 'new'}: {message}")

        return time_until(
            updated, state=f"the update of {service}", within=within, every=0.5, since=since
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

    def _id_of(self, service: str) -> str:
        self.workload.service(service)  # a name it never had is the caller's mistake
        if service not in self.services:
            raise SwarmError(f"the service {service} has been removed")
        return self.services[service]

    def _redescribe(self, service: Service) -> None:
        services = tuple(
            service if each.name == service.name else each for each in self.workload.services
        )
        self.workload = replace(self.workload, services=services)


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
