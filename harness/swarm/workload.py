"""Workloads: what is deployed on a swarm, as descriptions. Nothing here talks to an engine.

Whether a service is reached by VIP and routing mesh or by ``dnsrr`` and host-mode ports depends on
the lab's kernel; scenarios need not know.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from harness.engine.versions import release_key
from harness.errors import UsageError
from harness.swarm.service_parts import (
    Dns,
    FileFrom,
    HealthCheck,
    Job,
    LogDriver,
    Mount,
    Port,
    PublishMode,
    Resources,
    RestartPolicy,
    UpdateConfig,
)

Role = Literal["manager", "worker"]

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
class Service:
    """A service. ``replicas`` None: global. ``published``: the port of the nodes that clients use.

    ``publish_mode``: how it is published. None is as the lab can, so that clients may enter at
    every node: by the routing mesh, else by a host-mode port and a task on each. ``ports`` are
    published as they are, beside it.
    ``role``: its tasks run on managers or on workers only, and clients enter there only.
    ``constraints``: more of swarm's own placement constraints (``node.labels.disk==ssd``).
    ``preferences`` are what tasks are spread over (``node.labels.rack``).
    ``job`` makes it a job, whose tasks are meant to end.
    ``log``: where its tasks' output goes; None is the engine's default, files on the node.
    ``command``: what runs instead of the image's own program, ``args`` what it is given.
    ``stop_grace``: seconds between a task's stop signal and its kill.
    ``endpoint``: how its name resolves; None is as the lab can, "vip" where the kernel has IPVS.
    ``hostname`` may be one of swarm's templates. ``labels`` are the service's,
    ``container_labels`` its tasks'. ``aliases`` are more names of it, by network.

    ``Service("app", APP_IMAGE, ("web",), replicas=4, port=APP_PORT)``
    """

    name: str
    image: str
    networks: tuple[str, ...] = ()
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
    args: tuple[str, ...] = ()
    job: Job | None = None
    health: HealthCheck | None = None
    reserve: Resources = field(default_factory=Resources)
    limit: Resources = field(default_factory=Resources)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    update: UpdateConfig | None = None
    rollback: UpdateConfig | None = None
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    configs: tuple[FileFrom, ...] = ()
    secrets: tuple[FileFrom, ...] = ()
    endpoint: Literal["vip", "dnsrr"] | None = None
    preferences: tuple[str, ...] = ()
    max_per_node: int | None = None
    hostname: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    container_labels: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stop_signal: str | None = None
    init: bool | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    dns: Dns = field(default_factory=Dns)
    user: str | None = None
    workdir: str | None = None
    read_only: bool = False

    def __post_init__(self) -> None:
        if self.replicas is not None and self.replicas < 0:
            raise self._refused(f"{self.replicas} is not a number of replicas")
        if self.published is not None and not 0 < self.published < 65536:
            raise self._refused(f"{self.published} is not a port: give 1 to 65535")
        if self.stop_grace < 0 or (self.max_per_node is not None and self.max_per_node < 0):
            raise self._refused("stop_grace and max_per_node cannot be negative")
        if self.job and self.replicas not in (None, 1):
            raise self._refused("a job has no replicas: give Job(completions=…, at_once=…)")
        if self.job and (self.update or self.rollback):
            raise self._refused("a job is not updated: leave update and rollback out")
        if self.reserve.pids is not None:
            raise self._refused("pids can be limited, not reserved")
        if self.limit.generic:
            raise self._refused("generic resources can be reserved, not limited")
        if unknown := set(self.aliases) - set(self.networks):
            raise self._refused(f"has aliases on networks that it is not on: {sorted(unknown)}")

    def _refused(self, why: str) -> UsageError:
        return UsageError(f"service {self.name}: {why}")

    @property
    def placement(self) -> list[str]:
        """All of its placement constraints."""
        return [*([f"node.role=={self.role}"] if self.role else []), *self.constraints]

    @property
    def published_ports(self) -> list[tuple[int, str]]:
        """Every port of the nodes that it asks for, and its protocol."""
        entry = [(self.published, "tcp")] if self.published is not None else []
        return [*entry, *((p.published, p.protocol) for p in self.ports if p.published)]

    def may_run_on(self, role: str) -> bool:
        """Return whether a node with this role may have its tasks."""
        return role == self.role if self.role else role in ("manager", "worker")


ANY_SUBNET = "any"
"""As a network's ``subnet_ipv6``: whichever subnet the engine chooses."""


@dataclass(frozen=True)
class Network:
    """An overlay network: ``Network("web", subnet="10.77.0.0/26", encrypted=True)``.

    ``subnet`` None: from swarm's pool. ``subnet_ipv6`` None: no IPv6; :data:`ANY_SUBNET`: one
    that the engine chooses, which 28.5 can and 26.1 cannot. ``mtu`` is that of its interfaces.
    ``attachable`` networks take plain containers, which probes look from. ``internal`` ones lead
    nowhere else. ``options`` are more of the driver's own.
    """

    name: str
    subnet: str | None = None
    subnet_ipv6: str | None = None
    encrypted: bool = False
    mtu: int | None = None
    attachable: bool = True
    internal: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for subnet, version in ((self.subnet, 4), (self.subnet_ipv6, 6)):
            if subnet is None or (version == 6 and subnet == ANY_SUBNET):
                continue
            try:
                found = ipaddress.ip_network(subnet)
            except ValueError as error:
                raise UsageError(f"network {self.name}: {error}") from None
            if found.version != version:
                raise UsageError(f"network {self.name}: {subnet} is not a subnet of IPv{version}")
        if self.mtu is not None and self.mtu < 68:
            raise UsageError(f"network {self.name}: {self.mtu} is no MTU: IPv4 needs 68 (RFC 791)")


@dataclass(frozen=True)
class Workload:
    """Networks, services, and the service through which clients enter (None: they do not).

    ``Workload("web", ("web",), (app, balancer), entry="balancer")``

    A network is a name or a :class:`Network`. ``configs`` and ``secrets`` are contents by name,
    for the services that have them as files.
    """

    name: str
    networks: tuple[str | Network, ...]
    services: tuple[Service, ...]
    entry: str | None = None
    path: str = "/"
    configs: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [service.name for service in self.services]
        if len(set(names)) != len(names):
            raise UsageError(f"workload {self.name}: service names must differ: {names}")
        ports = [port for service in self.services for port in service.published_ports]
        if twice := sorted(port for port, times in Counter(ports).items() if times > 1):
            found = ", ".join(f"{port}/{protocol}" for port, protocol in twice)
            raise UsageError(f"workload {self.name}: a port is published twice: {found}")
        networks = {network.name for network in self.overlays}
        for service in self.services:
            for what, used, known in (
                ("networks", set(service.networks), networks),
                ("configs", {each.name for each in service.configs}, set(self.configs)),
                ("secrets", {each.name for each in service.secrets}, set(self.secrets)),
            ):
                if unknown := used - known:
                    raise UsageError(
                        f"service {service.name} names unknown {what}: {sorted(unknown)}"
                    )
        if self.entry is not None and self.entry not in names:
            raise UsageError(f"workload {self.name} has no service {self.entry!r} as its entry")

    @property
    def overlays(self) -> tuple[Network, ...]:
        """Its networks, those given by their names alone too."""
        return tuple(Network(each) if isinstance(each, str) else each for each in self.networks)

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


def workload_from(facts: Mapping[str, Any]) -> Workload:
    """Return the workload with these facts, which :func:`facts_of` gave."""
    return msgspec.convert(facts, Workload)


def facts_of(workload: Workload) -> dict[str, Any]:
    """Return a workload as JSON can say it."""
    facts: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(workload))
    return facts


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
