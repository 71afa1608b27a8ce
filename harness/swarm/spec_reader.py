"""A service's description, read back from the API: :mod:`harness.swarm.service_spec` the other way.

What an engine fills in by itself ("any", "ingress", "vip") is read as not said where leaving it out
means the same. The entry of a workload is not in the API: every port is one of ``ports``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.swarm.service_parts import (
    Dns,
    FileFrom,
    HealthCheck,
    Job,
    LogDriver,
    Mount,
    Port,
    Resources,
    RestartPolicy,
    UpdateConfig,
)
from harness.swarm.service_spec import usual_condition
from harness.swarm.workload import Service, identity

_NANO = 1_000_000_000


def read_service(spec: Mapping[str, Any], networks: Mapping[str, str]) -> Service:
    """Return the description of a service from its spec, as ``GET /services/ID`` has it.

    ``networks`` are the names of networks by id. A name that each task is told of itself
    (:func:`~harness.swarm.workload.identity`) is left out.
    """
    template = spec["TaskTemplate"]
    container = template["ContainerSpec"]
    placement = _part(template, "Placement")
    resources = _part(template, "Resources")
    mode = spec.get("Mode") or {"Replicated": {}}
    endpoint = _part(spec, "EndpointSpec")
    attached = template.get("Networks") or spec.get("Networks") or ()
    names = {each["Target"]: networks.get(each["Target"], each["Target"]) for each in attached}
    log = template.get("LogDriver")
    dns = _part(container, "DNSConfig")
    service = Service(
        spec["Name"],
        container["Image"].partition("@")[0],
        tuple(names[each["Target"]] for each in attached),
        replicas=_replicas(mode),
        env=_environment(container.get("Env") or ()),
        stop_grace=_seconds(container.get("StopGracePeriod"), 10.0),
        constraints=tuple(placement.get("Constraints") or ()),
        log=LogDriver(log["Name"], dict(log.get("Options") or {})) if log else None,
        command=tuple(container.get("Command") or ()),
        args=tuple(container.get("Args") or ()),
        job=_job(mode),
        health=_health(_part(container, "Healthcheck")),
        reserve=_amounts(_part(resources, "Reservations")),
        limit=_amounts(_part(resources, "Limits")),
        update=_update(spec.get("UpdateConfig")),
        rollback=_update(spec.get("RollbackConfig")),
        ports=tuple(_port(each) for each in endpoint.get("Ports") or ()),
        mounts=tuple(_mount(each) for each in container.get("Mounts") or ()),
        configs=tuple(_file(each, "Config") for each in container.get("Configs") or ()),
        secrets=tuple(_file(each, "Secret") for each in container.get("Secrets") or ()),
        endpoint=endpoint.get("Mode"),
        preferences=tuple(
            each["Spread"]["SpreadDescriptor"] for each in placement.get("Preferences") or ()
        ),
        max_per_node=placement.get("MaxReplicas") or None,
        hostname=container.get("Hostname"),
        labels=spec.get("Labels") or {},
        container_labels=container.get("Labels") or {},
        aliases={
            names[each["Target"]]: tuple(each["Aliases"])
            for each in attached
            if each.get("Aliases")
        },
        stop_signal=container.get("StopSignal"),
        init=container.get("Init"),
        cap_add=tuple(container.get("CapabilityAdd") or ()),
        cap_drop=tuple(container.get("CapabilityDrop") or ()),
        sysctls=container.get("Sysctls") or {},
        dns=Dns(*(tuple(dns.get(key) or ()) for key in ("Nameservers", "Search", "Options"))),
        user=container.get("User"),
        workdir=container.get("Dir"),
        read_only=bool(container.get("ReadOnly")),
    )
    return _with_restart(service, _part(template, "RestartPolicy"))


def _part(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return of.get(key) or {}


def _seconds(nano: int | None, otherwise: float) -> float:
    return otherwise if nano is None else nano / _NANO


def _optional(nano: int | None) -> float | None:
    return nano / _NANO if nano else None


def _replicas(mode: Mapping[str, Any]) -> int | None:
    if "Replicated" in mode:
        return int(mode["Replicated"].get("Replicas", 1))
    return 1 if "ReplicatedJob" in mode else None


def _job(mode: Mapping[str, Any]) -> Job | None:
    if "GlobalJob" in mode:
        return Job()
    if (job := mode.get("ReplicatedJob")) is None:
        return None
    return Job(job.get("TotalCompletions", 1), job.get("MaxConcurrent", 1))


def _environment(entries: Any) -> dict[str, str]:
    found = dict(entry.partition("=")[::2] for entry in entries)
    told = [identity(engines) for engines in ((), ("17.05.0",))]
    return {k: v for k, v in found.items() if not any(own.get(k) == v for own in told)}


def _health(check: Mapping[str, Any]) -> HealthCheck | None:
    if not check:
        return None
    return HealthCheck(
        tuple(check.get("Test") or ()),
        interval=_optional(check.get("Interval")),
        timeout=_optional(check.get("Timeout")),
        retries=check.get("Retries") or None,
        start_period=_optional(check.get("StartPeriod")),
        start_interval=_optional(check.get("StartInterval")),
    )


def _amounts(found: Mapping[str, Any]) -> Resources:
    generic: dict[str, int | str] = {}
    for each in found.get("GenericResources") or ():
        kind = each.get("DiscreteResourceSpec") or each["NamedResourceSpec"]
        generic[kind["Kind"]] = kind["Value"]
    return Resources(
        memory=found.get("MemoryBytes"),
        cpus=_optional(found.get("NanoCPUs")),
        pids=found.get("Pids"),
        generic=generic,
    )


def _with_restart(service: Service, policy: Mapping[str, Any]) -> Service:
    condition = policy.get("Condition")
    restart = RestartPolicy(
        None if condition == usual_condition(service) else condition,
        delay=_seconds(policy.get("Delay"), 5.0),
        attempts=policy.get("MaxAttempts") or None,
        window=_optional(policy.get("Window")),
    )
    return replace(service, restart=restart)


def _update(config: Mapping[str, Any] | None) -> UpdateConfig | None:
    if config is None:
        return None
    return UpdateConfig(
        config.get("Parallelism", 0),
        delay=_optional(config.get("Delay")),
        order=config.get("Order"),
        monitor=_optional(config.get("Monitor")),
        failure_action=config.get("FailureAction"),
        max_failure_ratio=config.get("MaxFailureRatio") or None,
    )


def _port(found: Mapping[str, Any]) -> Port:
    return Port(
        found["TargetPort"],
        found.get("PublishedPort") or None,
        found.get("Protocol", "tcp"),
        found.get("PublishMode", "ingress"),
    )


def _mount(found: Mapping[str, Any]) -> Mount:
    driver = _part(_part(found, "VolumeOptions"), "DriverConfig")
    tmpfs = _part(found, "TmpfsOptions")
    return Mount(
        found["Target"],
        found.get("Source") or None,
        found.get("Type", "volume"),
        read_only=bool(found.get("ReadOnly")),
        driver=driver.get("Name"),
        options=driver.get("Options") or {},
        size=tmpfs.get("SizeBytes"),
        mode=tmpfs.get("Mode"),
    )


def _file(found: Mapping[str, Any], kind: str) -> FileFrom:
    file, name = found["File"], found[f"{kind}Name"]
    target = None if file["Name"] == name else file["Name"]
    return FileFrom(name, target, file["UID"], file["GID"], file["Mode"])
