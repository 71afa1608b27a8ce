"""A service as the API has it: what creates it, edits of its spec, and what an edited spec says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from docker.types import EndpointSpec, NetworkAttachmentConfig, RestartPolicy, ServiceMode

from harness.errors import UsageError
from harness.swarm.workload import PublishMode, Service, identity

Edit = Callable[[dict[str, Any]], None]

_NANO = 1_000_000_000

#: No node meets it: a service that runs on every node or on none (host-mode ports, where there is
#: no routing mesh) is scaled to 0 with it.
_NOWHERE = "node.labels.swarm-chaos.nowhere==true"


def creation(
    service: Service, networks: Mapping[str, str], *, mesh: bool, engines: Iterable[str]
) -> dict[str, Any]:
    """Return the arguments with which the SDK creates a service.

    ``networks`` are the ids of the workload's networks by name, ``engines`` the versions of all
    nodes.
    """
    ports: Any = None
    if service.published is not None:
        mode = publish_mode(service, mesh=mesh)
        ports = {service.published: published_port(service.port, mode)}
    everywhere = is_global(service, mesh=mesh)
    nowhere = everywhere and service.replicas == 0
    environment = {**identity(engines), **service.env}
    arguments: dict[str, Any] = {
        "image": service.image,
        "name": service.name,
        "env": [f"{key}={value}" for key, value in environment.items()],
        "mode": ServiceMode("global")
        if everywhere
        else ServiceMode("replicated", replicas=service.replicas),
        "networks": [NetworkAttachmentConfig(networks[name]) for name in service.networks],
        "constraints": [*service.placement, *([_NOWHERE] if nowhere else [])],
        "endpoint_spec": EndpointSpec(mode="vip" if mesh else "dnsrr", ports=ports),
        "restart_policy": RestartPolicy(condition="any", delay=int(service.restart_delay * _NANO)),
        "stop_grace_period": int(service.stop_grace * _NANO),
    }
    if service.command:
        arguments["command"] = list(service.command)
    if service.log is not None:
        arguments["log_driver"] = service.log.name
        arguments["log_driver_options"] = dict(service.log.options)
    return arguments


def publish_mode(service: Service, *, mesh: bool) -> PublishMode:
    """Return how a service's port is published in a lab with or without a routing mesh."""
    return service.publish_mode or ("ingress" if mesh else "host")


def is_global(service: Service, *, mesh: bool) -> bool:
    """Return whether a service runs on every node: as described, or because there is no mesh."""
    on_every_node = service.published is not None and service.publish_mode is None
    return service.replicas is None or (on_every_node and not mesh)


def published_port(port: int | None, mode: PublishMode) -> tuple[int | str | None, ...]:
    """Return a port as the SDK takes it.

    "ingress" is left out: for engines before 17.09 the SDK refuses to name a mode, though they
    know it.
    """
    return (port, "tcp") if mode == "ingress" else (port, "tcp", mode)


def redeployed(spec: dict[str, Any]) -> None:
    """Edit a spec so that all its tasks are replaced."""
    template = spec["TaskTemplate"]
    template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1


def scaled(service: Service, replicas: int) -> Edit:
    """Return the edit that scales a service.

    It raises :class:`UsageError` for one that runs on every node, except to 0 and back.
    """

    def edit(spec: dict[str, Any]) -> None:
        if "Replicated" in spec["Mode"]:
            spec["Mode"]["Replicated"]["Replicas"] = replicas
            return
        placement = spec["TaskTemplate"].setdefault("Placement", {})
        constraints = placement.get("Constraints") or []
        if service.replicas is None and replicas and _NOWHERE not in constraints:
            raise UsageError(f"{service.name} runs on every node: it has no number of replicas")
        others = [c for c in constraints if c != _NOWHERE]
        placement["Constraints"] = others if replicas else [*others, _NOWHERE]

    return edit


def published(service: Service, port: int | None, *, mesh: bool) -> Edit:
    """Return the edit that publishes a service by another port, or by none."""
    entry = {
        "Protocol": "tcp",
        "TargetPort": service.port,
        "PublishedPort": port,
        "PublishMode": publish_mode(service, mesh=mesh),
    }

    def edit(spec: dict[str, Any]) -> None:
        ports = [entry] if port else []
        spec["EndpointSpec"] = {**(spec.get("EndpointSpec") or {}), "Ports": ports}

    return edit


def described(service: Service, spec: Mapping[str, Any], *, mesh: bool) -> Service:
    """Return a service's description as a spec has it: replicas, constraints and port."""
    replicated = (spec.get("Mode") or {}).get("Replicated")
    constraints = (spec["TaskTemplate"].get("Placement") or {}).get("Constraints") or []
    role = f"node.role=={service.role}"
    kept = replace(
        service,
        replicas=service.replicas if replicated is None else replicated.get("Replicas", 0),
        role=service.role if role in constraints else None,
        constraints=tuple(each for each in constraints if each != role),
    )
    ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
    same = [port for port in ports if port["TargetPort"] == service.port]
    return _published_by(kept, (same or ports)[0], mesh) if ports else replace(kept, published=None)


def _published_by(service: Service, port: Mapping[str, Any], mesh: bool) -> Service:
    mode = port.get("PublishMode", "ingress")
    usual = mode == publish_mode(service, mesh=mesh)
    return replace(
        service,
        port=port["TargetPort"],
        published=port.get("PublishedPort") or None,
        publish_mode=service.publish_mode if usual else mode,
    )
