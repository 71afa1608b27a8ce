"""Workloads: what is deployed on a swarm, as descriptions. Nothing here talks to an engine.

Whether a service is reached by VIP and routing mesh or by ``dnsrr`` and host-mode ports depends on
the lab's kernel; scenarios need not know.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.engine.versions import release_key
from harness.errors import UsageError

Role = Literal["manager", "worker"]

PublishMode = Literal["ingress", "host"]
"""How a port is published: by every node, or by those that have a task."""

APP_IMAGE = "swarm-chaos/app:1"
BALANCER_IMAGE = "swarm-chaos/balancer:1"
LOGWRITER_IMAGE = "swarm-chaos/logwriter:1"
APP_PORT = 8000
BALANCER_PORT = 8080
LOGWRITER_PORT = 8001

#: From this release on swarm's templates know a node's hostname. swarmkit has it since July 2017,
#: moby since that month; which of the releases in between have it was not tried.
_HOSTNAME_SINCE = "17.10.0"


def identity(engines: Iterable[str]) -> dict[str, str]:
    """Return the environment that tells every task its own name, by swarm's templates.

    ``engines`` are the versions of all nodes: one too old to know of hostnames would refuse
    the service, so the node is then named by its id.
    """
    known = all(release_key(version) >= release_key(_HOSTNAME_SINCE) for version in engines)
    return {
        "TASK_NAME": "{{.Task.Name}}",
        "SERVICE_NAME": "{{.Service.Name}}",
        "NODE_NAME": "{{.Node.Hostname}}" if known else "{{.Node.ID}}",
    }


@dataclass(frozen=True)
class LogDriver:
    """A log driver of the engine and its options: ``LogDriver("gelf", {"gelf-address": ...})``."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """A service. ``replicas`` None: global. ``published``: the port of the nodes that clients use.

    ``publish_mode``: how it is published. None is as the lab can, so that clients may enter at
    every node: by the routing mesh, else by a host-mode port and a task on each.
    ``role``: its tasks run on managers or on workers only, and clients enter there only.
    ``constraints``: more of swarm's own placement constraints (``node.labels.disk==ssd``).
    ``log``: where its tasks' output goes; None is the engine's default, files on the node.
    ``command``: what runs instead of the image's own program. ``restart_delay``: seconds between
    a task's end and its replacement's start; swarm's own default is 5.

    ``Service("app", APP_IMAGE, ("web",), replicas=4, port=APP_PORT)``
    """

    name: str
    image: str
    networks: tuple[str, ...]
    replicas: int | None = 1
    port: int | None = None
    published: int | None = None
    publish_mode: PublishMode | None = None
    env: dict[str, str] = field(default_factory=dict)
    stop_grace: float = 3.0
    role: Role | None = None
    constraints: tuple[str, ...] = ()
    log: LogDriver | None = None
    command: tuple[str, ...] = ()
    restart_delay: float = 5.0

    def __post_init__(self) -> None:
        if self.replicas is not None and self.replicas < 0:
            raise UsageError(f"service {self.name}: {self.replicas} is not a number of replicas")
        if self.published is not None and not 0 < self.published < 65536:
            raise UsageError(
                f"service {self.name}: {self.published} is not a port: give 1 to 65535"
            )

    @property
    def placement(self) -> list[str]:
        """All of its placement constraints."""
        return [*([f"node.role=={self.role}"] if self.role else []), *self.constraints]

    def may_run_on(self, role: str) -> bool:
        """Return whether a node with this role may have its tasks."""
        return role == self.role if self.role else role in ("manager", "worker")


@dataclass(frozen=True)
class Workload:
    """Networks, services, and the service through which clients enter (None: they do not).

    ``Workload("web", ("web",), (app, balancer), entry="balancer")``

    ``subnets`` gives single networks their addresses, ``{"web": "10.77.0.0/26"}``; the others get
    theirs from swarm's pool.
    """

    name: str
    networks: tuple[str, ...]
    services: tuple[Service, ...]
    entry: str | None = None
    path: str = "/"
    subnets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [service.name for service in self.services]
        if len(set(names)) != len(names):
            raise UsageError(f"workload {self.name}: service names must differ: {names}")
        ports = [s.published for s in self.services if s.published is not None]
        if len(set(ports)) != len(ports):
            raise UsageError(f"workload {self.name}: two services publish one port: {ports}")
        for service in self.services:
            if unknown := set(service.networks) - set(self.networks):
                raise UsageError(
                    f"service {service.name} names unknown networks: {sorted(unknown)}"
                )
        for network, subnet in self.subnets.items():
            if network not in self.networks:
                raise UsageError(f"workload {self.name} has no network {network!r} for {subnet}")
            try:
                ipaddress.ip_network(subnet)
            except ValueError as error:
                raise UsageError(f"network {network}: {error}") from None
        if self.entry is not None and self.entry not in names:
            raise UsageError(f"workload {self.name} has no service {self.entry!r} as its entry")

    def service(self, name: str) -> Service:
        """Return one of its services by name; :class:`UsageError` if there is none."""
        for service in self.services:
            if service.name == name:
                return service
        raise UsageError(f"workload {self.name} has no service {name!r}")

    def with_service(self, service: Service) -> Workload:
        """Return the workload with another description of the service of that name."""
        others = (service if each.name == service.name else each for each in self.services)
        return replace(self, services=tuple(others))


def balanced_web(
    *,
    replicas: int = 4,
    balancers: int = 2,
    port: int = BALANCER_PORT,
    name: str = "web",
    role: Role | None = None,
) -> Workload:
    """Return an nginx balancer before an HTTP app, over an overlay network of its own.

    ``balancers`` is their number where the routing mesh serves every node; where there is no
    mesh, one balancer runs on each node, behind a host-mode port. ``role`` keeps all of it, and
    its entries, to managers or to workers.
    """
    app = Service("app", APP_IMAGE, (name,), replicas=replicas, port=APP_PORT, role=role)
    balancer = Service(
        "balancer",
        BALANCER_IMAGE,
        (name,),
        replicas=balancers,
        port=BALANCER_PORT,
        published=port,
        env={"UPSTREAM": "app", "UPSTREAM_PORT": str(APP_PORT)},
        role=role,
    )
    return Workload(name, (name,), (app, balancer), entry="balancer")
