"""A workload as a compose file: :mod:`harness.swarm.compose_reader` the other way.

JSON is YAML, so that is what is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import UsageError
from harness.swarm.service_parts import (
    FileFrom,
    HealthCheck,
    Mount,
    Port,
    Resources,
    RestartPolicy,
    UpdateConfig,
)
from harness.swarm.workload import ANY_SUBNET, Network, Service, Workload

#: The newest version of the format that the command line of 20.10 knows; 26.1 knows 3.12.
_VERSION = "3.9"

#: The first version that knows a health check's start interval.
_VERSION_OF_START_INTERVAL = "3.12"

_MTU = "com.docker.network.driver.mtu"


def compose_text(workload: Workload) -> str:
    """Return a workload as the text of a compose file.

    The contents of its configs and secrets are beside it, in ``configs/NAME`` and
    ``secrets/NAME``. Raise :class:`UsageError` for what no compose file can say.
    """
    checks = [service.health for service in workload.services if service.health]
    late = any(check.start_interval is not None for check in checks)
    document = {
        "version": _VERSION_OF_START_INTERVAL if late else _VERSION,
        "services": {service.name: _service(service) for service in workload.services},
        "networks": {network.name: _network(network) for network in workload.overlays},
        "volumes": dict(_volumes(workload)),
        "configs": {name: {"file": f"configs/{name}"} for name in workload.configs},
        "secrets": {name: {"file": f"secrets/{name}"} for name in workload.secrets},
    }
    return json.dumps(_escaped(_said(document)), indent=2) + "\n"


def _service(service: Service) -> dict[str, Any]:
    if service.dns.options:
        raise UsageError(f"service {service.name}: a stack has no dns options")
    entry = [Port(service.port or 0, service.published)] if service.published else []
    return _said(
        {
            "image": service.image,
            "entrypoint": list(service.command),
            "command": list(service.args),
            "environment": dict(service.env),
            "networks": {
                name: _said({"aliases": list(service.aliases.get(name, ()))}) or None
                for name in service.networks
            },
            "ports": [_port(port) for port in (*entry, *service.ports)],
            "volumes": [_mount(mount) for mount in service.mounts],
            "configs": [_file(each) for each in service.configs],
            "secrets": [_file(each) for each in service.secrets],
            "healthcheck": _health(service.health) if service.health else None,
            "hostname": service.hostname,
            "labels": dict(service.container_labels),
            "logging": _said({"driver": service.log.name, "options": dict(service.log.options)})
            if service.log
            else None,
            "init": service.init,
            "cap_add": list(service.cap_add),
            "cap_drop": list(service.cap_drop),
            "dns": list(service.dns.servers),
            "dns_search": list(service.dns.search),
            "stop_signal": service.stop_signal,
            "stop_grace_period": _duration(service.stop_grace),
            "sysctls": dict(service.sysctls),
            "user": service.user,
            "working_dir": service.workdir,
            "read_only": service.read_only or None,
            "deploy": _deploy(service),
        }
    )


def _deploy(service: Service) -> dict[str, Any]:
    job = service.job
    if job and service.replicas is not None and job.completions != job.at_once:
        raise UsageError(f"service {service.name}: all runs of a stack's job are at once")
    kind = "global" if service.replicas is None else "replicated"
    return _said(
        {
            "mode": f"{kind}-job" if job else kind,
            "replicas": None
            if service.replicas is None
            else (job.completions if job else service.replicas),
            "endpoint_mode": service.endpoint,
            "labels": dict(service.labels),
            "placement": _said(
                {
                    "constraints": service.placement,
                    "preferences": [{"spread": each} for each in service.preferences],
                    "max_replicas_per_node": service.max_per_node,
                }
            ),
            "resources": _said(
                {
                    "limits": _amounts(service, service.limit),
                    "reservations": _amounts(service, service.reserve),
                }
            ),
            "restart_policy": _restart(service.restart),
            "update_config": _update(service.update),
            "rollback_config": _update(service.rollback),
        }
    )


def _amounts(service: Service, resources: Resources) -> dict[str, Any]:
    if any(isinstance(value, str) for value in resources.generic.values()):
        raise UsageError(f"service {service.name}: a stack's generic resources are numbers")
    return _said(
        {
            "cpus": None if resources.cpus is None else str(resources.cpus),
            "memory": None if resources.memory is None else str(resources.memory),
            "pids": resources.pids,
            "generic_resources": [
                {"discrete_resource_spec": {"kind": kind, "value": value}}
                for kind, value in resources.generic.items()
            ],
        }
    )


def _restart(policy: RestartPolicy) -> dict[str, Any]:
    return _said(
        {
            "condition": policy.condition,
            "delay": _duration(policy.delay),
            "max_attempts": policy.attempts,
            "window": _duration(policy.window),
        }
    )


def _update(config: UpdateConfig | None) -> dict[str, Any]:
    if config is None:
        return {}
    return _said(
        {
            "parallelism": config.parallelism,
            "delay": _duration(config.delay),
            "order": config.order,
            "monitor": _duration(config.monitor),
            "failure_action": config.failure_action,
            "max_failure_ratio": config.max_failure_ratio,
        }
    )


def _health(check: HealthCheck) -> dict[str, Any]:
    return _said(
        {
            "test": list(check.test),
            "interval": _duration(check.interval),
            "timeout": _duration(check.timeout),
            "retries": check.retries,
            "start_period": _duration(check.start_period),
            "start_interval": _duration(check.start_interval),
        }
    )


def _port(port: Port) -> dict[str, Any]:
    return _said(
        {
            "target": port.target,
            "published": port.published,
            "protocol": port.protocol,
            "mode": port.mode,
        }
    )


def _mount(mount: Mount) -> dict[str, Any]:
    if mount.mode is not None:
        raise UsageError(f"the tmpfs at {mount.target}: a stack gives it no permissions")
    return _said(
        {
            "type": mount.type,
            "source": mount.source,
            "target": mount.target,
            "read_only": mount.read_only or None,
            "tmpfs": _said({"size": mount.size}),
        }
    )


def _file(each: FileFrom) -> dict[str, Any]:
    return _said(
        {
            "source": each.name,
            "target": each.target,
            "uid": each.uid,
            "gid": each.gid,
            "mode": each.mode,
        }
    )


def _network(network: Network) -> dict[str, Any]:
    options = {
        **network.options,
        **({"encrypted": ""} if network.encrypted else {}),
        **({_MTU: str(network.mtu)} if network.mtu is not None else {}),
    }
    subnets = [network.subnet, network.subnet_ipv6]
    return _said(
        {
            "driver": "overlay",
            "driver_opts": options,
            "attachable": network.attachable,
            "internal": network.internal or None,
            "enable_ipv6": network.subnet_ipv6 == ANY_SUBNET or None,
            "labels": dict(network.labels),
            "ipam": _said(
                {"config": [{"subnet": each} for each in subnets if each not in (None, ANY_SUBNET)]}
            ),
        }
    )


def _volumes(workload: Workload) -> Iterator[tuple[str, dict[str, Any]]]:
    found: dict[str, dict[str, Any]] = {}
    for service in workload.services:
        for mount in service.mounts:
            if mount.type != "volume":
                continue
            how = _said({"driver": mount.driver, "driver_opts": dict(mount.options)})
            if mount.source is None:
                if how:
                    raise UsageError(f"service {service.name}: only a named volume has a driver")
            elif found.setdefault(mount.source, how) != how:
                raise UsageError(f"the volume {mount.source} is mounted in two ways")
    yield from found.items()


def _duration(seconds: float | None) -> str | None:
    """Return a duration as Go writes it, to the nanosecond."""
    if seconds is None:
        return None
    whole, nano = divmod(round(seconds * 1_000_000_000), 1_000_000_000)
    return f"{whole}s{nano}ns" if nano else f"{whole}s"


def _said(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing: None, and what is empty."""
    return {k: v for k, v in keys.items() if v is not None and v not in ({}, [])}


def _escaped(part: Any) -> Any:
    """Double each dollar: else the command line fills in a variable."""
    if isinstance(part, str):
        return part.replace("$", "$$")
    if isinstance(part, Mapping):
        return {key: _escaped(value) for key, value in part.items()}
    return [_escaped(each) for each in part] if isinstance(part, list) else part
