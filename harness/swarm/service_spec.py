"""A service as the API has it: what creates it, edits of its spec, and what an edited spec says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import UsageError
from harness.swarm.service_parts import (
    FileFrom,
    HealthCheck,
    Mount,
    Port,
    PublishMode,
    Resources,
    UpdateConfig,
)
from harness.swarm.workload import Service, identity

Edit = Callable[[dict[str, Any]], None]

_NANO = 1_000_000_000

#: No node meets it: a service that runs on every node or on none (host-mode ports, where there is
#: no routing mesh) is scaled to 0 with it.
NOWHERE = "node.labels.swarm-chaos.nowhere==true"


@dataclass
class Ids:
    """What a workload's networks, configs and secrets are called by the API: id by name."""

    networks: dict[str, str] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


def creation(service: Service, ids: Ids, *, mesh: bool, engines: Iterable[str]) -> dict[str, Any]:
    """Return the arguments with which the SDK's low-level client creates a service.

    ``engines`` are the versions of all nodes. What is not said is left out, so that an engine's
    own default holds, and that an old one hears of no key that it does not know.
    """
    arguments = {
        "task_template": _said(
            {
                "ContainerSpec": _container(service, ids, engines),
                "Resources": _resources(service),
                "RestartPolicy": _restart(service),
                "Placement": _placement(service, mesh),
                "LogDriver": _said({"Name": service.log.name, "Options": dict(service.log.options)})
                if service.log
                else None,
                "Networks": [
                    _said(
                        {
                            "Target": ids.networks[name],
                            "Aliases": list(service.aliases.get(name, ())),
                        }
                    )
                    for name in service.networks
                ],
            }
        ),
        "name": service.name,
        "labels": dict(service.labels),
        "mode": _mode(service, mesh),
        "update_config": _update(service.update),
        "rollback_config": _update(service.rollback),
        "endpoint_spec": _endpoint(service, mesh),
    }
    return _said(arguments)


def _container(service: Service, ids: Ids, engines: Iterable[str]) -> dict[str, Any]:
    environment = {**identity(engines), **service.env}
    dns = {
        "Nameservers": list(service.dns.servers),
        "Search": list(service.dns.search),
        "Options": list(service.dns.options),
    }
    return _said(
        {
            "Image": service.image,
            "Command": list(service.command),
            "Args": list(service.args),
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Hostname": service.hostname,
            "Labels": dict(service.container_labels),
            "Dir": service.workdir,
            "User": service.user,
            "ReadOnly": service.read_only or None,
            "StopSignal": service.stop_signal,
            "StopGracePeriod": _nano(service.stop_grace),
            "Healthcheck": _health(service.health) if service.health else None,
            "DNSConfig": _said(dns),
            "Mounts": [_mount(mount) for mount in service.mounts],
            "Configs": [_file(each, "Config", ids.configs) for each in service.configs],
            "Secrets": [_file(each, "Secret", ids.secrets) for each in service.secrets],
            "Init": service.init,
            "CapabilityAdd": list(service.cap_add),
            "CapabilityDrop": list(service.cap_drop),
            "Sysctls": dict(service.sysctls),
        }
    )


def _health(check: HealthCheck) -> dict[str, Any]:
    return {
        "Test": list(check.test),
        **_present(
            {
                "Interval": _nano(check.interval),
                "Timeout": _nano(check.timeout),
                "Retries": check.retries,
                "StartPeriod": _nano(check.start_period),
                "StartInterval": _nano(check.start_interval),
            }
        ),
    }


def _mount(mount: Mount) -> dict[str, Any]:
    driver = _said({"Name": mount.driver, "Options": dict(mount.options)})
    return _said(
        {
            "Type": mount.type,
            "Source": mount.source,
            "Target": mount.target,
            "ReadOnly": mount.read_only or None,
            "VolumeOptions": _said({"DriverConfig": driver}),
            "TmpfsOptions": _said({"SizeBytes": mount.size, "Mode": mount.mode}),
        }
    )


def _file(each: FileFrom, kind: str, ids: Mapping[str, str]) -> dict[str, Any]:
    file = {"Name": each.target or each.name, "UID": each.uid, "GID": each.gid, "Mode": each.mode}
    return {f"{kind}ID": ids[each.name], f"{kind}Name": each.name, "File": file}


def _resources(service: Service) -> dict[str, Any]:
    return _said({"Limits": _amounts(service.limit), "Reservations": _amounts(service.reserve)})


def _amounts(resources: Resources) -> dict[str, Any]:
    return _said(
        {
            "MemoryBytes": resources.memory,
            "NanoCPUs": _nano(resources.cpus),
            "Pids": resources.pids,
            "GenericResources": [
                {"DiscreteResourceSpec": {"Kind": kind, "Value": value}}
                if isinstance(value, int)
                else {"NamedResourceSpec": {"Kind": kind, "Value": value}}
                for kind, value in resources.generic.items()
            ],
        }
    )


def _restart(service: Service) -> dict[str, Any]:
    policy = service.restart
    return _present(
        {
            "Condition": policy.condition or usual_condition(service),
            "Delay": _nano(policy.delay),
            "MaxAttempts": policy.attempts,
            "Window": _nano(policy.window),
        }
    )


def usual_condition(service: Service) -> str:
    """Return when a service's tasks are replaced if its description does not say so."""
    return "on-failure" if service.job else "any"


def _placement(service: Service, mesh: bool) -> dict[str, Any]:
    nowhere = is_global(service, mesh=mesh) and service.replicas == 0
    return _said(
        {
            "Constraints": [*service.placement, *([NOWHERE] if nowhere else [])],
            "Preferences": [{"Spread": {"SpreadDescriptor": each}} for each in service.preferences],
            "MaxReplicas": service.max_per_node,
        }
    )


def _mode(service: Service, mesh: bool) -> dict[str, Any]:
    everywhere = is_global(service, mesh=mesh)
    if service.job is None:
        return {"Global": {}} if everywhere else {"Replicated": {"Replicas": service.replicas}}
    numbers = {"TotalCompletions": service.job.completions, "MaxConcurrent": service.job.at_once}
    return {"GlobalJob": {}} if everywhere else {"ReplicatedJob": numbers}


def _update(config: UpdateConfig | None) -> dict[str, Any] | None:
    if config is None:
        return None
    return _present(
        {
            "Parallelism": config.parallelism,
            "Delay": _nano(config.delay),
            "Order": config.order,
            "Monitor": _nano(config.monitor),
            "FailureAction": config.failure_action,
            "MaxFailureRatio": config.max_failure_ratio,
        }
    )


def _endpoint(service: Service, mesh: bool) -> dict[str, Any]:
    entry = [_entry(service, service.published, mesh=mesh)] if service.published else []
    ports = [_port(port) for port in service.ports]
    return _said(
        {
            "Mode": service.endpoint or ("vip" if mesh else "dnsrr"),
            "Ports": [*entry, *ports],
        }
    )


def _entry(service: Service, published: int, *, mesh: bool) -> dict[str, Any]:
    if service.port is None:
        raise UsageError(f"service {service.name} has no port to publish")
    return _port(Port(service.port, published, mode=publish_mode(service, mesh=mesh)))


def _port(port: Port) -> dict[str, Any]:
    """Return a port as the API has it.

    "ingress" is left out: for engines before 17.09 the SDK refuses to name a mode, though they
    know it.
    """
    return _present(
        {
            "Protocol": port.protocol,
            "TargetPort": port.target,
            "PublishedPort": port.published,
            "PublishMode": None if port.mode == "ingress" else port.mode,
        }
    )


def _nano(amount: float | None) -> int | None:
    return None if amount is None else round(amount * _NANO)


def _present(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _said(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing: None, and what is empty."""
    return {key: value for key, value in _present(keys).items() if value not in ({}, [], "")}


def publish_mode(service: Service, *, mesh: bool) -> PublishMode:
    """Return how a service's port is published in a lab with or without a routing mesh."""
    return service.publish_mode or ("ingress" if mesh else "host")


def is_global(service: Service, *, mesh: bool) -> bool:
    """Return whether a service runs on every node: as described, or because there is no mesh."""
    on_every_node = service.published is not None and service.publish_mode is None
    return service.replicas is None or (on_every_node and not mesh)


def redeployed(spec: dict[str, Any]) -> None:
    """Edit a spec so that all its tasks are replaced."""
    template = spec["TaskTemplate"]
    template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1


def scaled(service: Service, replicas: int) -> Edit:
    """Return the edit that scales a service.

    It raises :class:`UsageError` for a job, and for one that runs on every node, except to 0 and
    back.
    """
    if service.job:
        raise UsageError(f"{service.name} is a job: it has completions and no replicas")

    def edit(spec: dict[str, Any]) -> None:
        if "Replicated" in spec["Mode"]:
            spec["Mode"]["Replicated"]["Replicas"] = replicas
            return
        placement = spec["TaskTemplate"].setdefault("Placement", {})
        constraints = placement.get("Constraints") or []
        if service.replicas is None and replicas and NOWHERE not in constraints:
            raise UsageError(f"{service.name} runs on every node: it has no number of replicas")
        others = [c for c in constraints if c != NOWHERE]
        placement["Constraints"] = others if replicas else [*others, NOWHERE]

    return edit


def published(service: Service, port: int | None, *, mesh: bool) -> Edit:
    """Return the edit that publishes a service by another port, or by none."""
    entry = [_entry(service, port, mesh=mesh)] if port else []
    others = [_port(each) for each in service.ports]

    def edit(spec: dict[str, Any]) -> None:
        spec["EndpointSpec"] = {**(spec.get("EndpointSpec") or {}), "Ports": [*entry, *others]}

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
    beside = {(port.target, port.protocol) for port in service.ports}
    ports = [
        port
        for port in (spec.get("EndpointSpec") or {}).get("Ports") or []
        if (port["TargetPort"], port.get("Protocol", "tcp")) not in beside
    ]
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
