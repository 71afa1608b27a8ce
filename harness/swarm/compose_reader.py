"""A compose file, read into a workload: what ``docker stack deploy`` makes of it, in our own words.

The keys are those of the compose file format, version 3, that a stack knows
(docker/cli cli/compose/schema). What a stack ignores (``build``, ``depends_on``, ``restart``, …) is
refused with all other keys that are not known here, since a scenario that names it means it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from harness.errors import UsageError
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
from harness.swarm.workload import ANY_SUBNET, Network, Service, Workload
from harness.swarm.yaml_items import Item, read

DEFAULT_NETWORK = "default"
"""What services are on that name no network."""

#: The engine's own, where a file does not say how long a task's end may take.
_STOP_GRACE = 10.0

_MTU = "com.docker.network.driver.mtu"

T = TypeVar("T")

FileReader = Callable[[str], bytes]


def read_workload(name: str, text: str, file: str, contents: FileReader) -> Workload:
    """Return the workload that a compose file's text describes.

    ``file`` names it in errors; ``contents`` returns a file that it refers to, and raises
    :class:`OSError` if it cannot. Raise :class:`UsageError` with file and line for what is wrong.
    """
    document = read(text, file)
    top = document.keys("version", "services", "networks", "volumes", "configs", "secrets")
    if "services" not in top or not top["services"].mapping():
        raise document.wrong("it has no services")
    files = {kind: _contents(top, kind, contents) for kind in ("configs", "secrets")}
    volumes = {key: _volume(item) for key, item in _of(top, "volumes").items()}
    networks = {key: _network(key, item) for key, item in _of(top, "networks").items()}
    known = {"networks": {*networks, DEFAULT_NETWORK}, **{k: set(v) for k, v in files.items()}}
    services = {
        key: _service(key, item, volumes, known) for key, item in top["services"].mapping().items()
    }
    _refuse_ports_taken_twice(top["services"].mapping(), services)
    if any(DEFAULT_NETWORK in service.networks for service in services.values()):
        networks.setdefault(DEFAULT_NETWORK, Network(DEFAULT_NETWORK, attachable=False))
    return Workload(
        name,
        tuple(networks.values()),
        tuple(services.values()),
        configs=files["configs"],
        secrets=files["secrets"],
    )


def _of(parts: Mapping[str, Item], key: str) -> dict[str, Item]:
    return parts[key].mapping() if key in parts else {}


def _contents(top: Mapping[str, Item], kind: str, contents: FileReader) -> dict[str, bytes]:
    found = {}
    for name, item in _of(top, kind).items():
        parts = item.keys("file")
        if "file" not in parts:
            raise item.wrong("it has no file: give the path of its contents")
        path = parts["file"].text()
        try:
            found[name] = contents(path)
        except OSError as error:
            raise parts["file"].wrong(f"{path} cannot be read: {error.strerror}") from None
    return found


def _volume(item: Item) -> tuple[str | None, dict[str, str]]:
    parts = item.keys("driver", "driver_opts")
    driver = parts["driver"].text() if "driver" in parts else None
    return driver, parts["driver_opts"].pairs() if "driver_opts" in parts else {}


def _network(name: str, item: Item) -> Network:
    parts = item.keys(
        "driver", "driver_opts", "attachable", "internal", "enable_ipv6", "ipam", "labels"
    )
    if "driver" in parts:
        parts["driver"].one_of("overlay")
    options = parts["driver_opts"].pairs() if "driver_opts" in parts else {}
    mtu = options.pop(_MTU, None)
    encrypted = options.pop("encrypted", None) is not None
    subnets = [
        config.keys("subnet")["subnet"].text()
        for config in (_of(parts, "ipam")["config"].items() if "ipam" in parts else [])
    ]
    return _made(
        item,
        Network,
        name=name,
        subnet=next((each for each in subnets if ":" not in each), None),
        subnet_ipv6=next(
            (each for each in subnets if ":" in each),
            ANY_SUBNET if _said(parts, "enable_ipv6", Item.flag, False) else None,
        ),
        encrypted=encrypted,
        mtu=None if mtu is None else int(mtu),
        attachable=_said(parts, "attachable", Item.flag, False),
        internal=_said(parts, "internal", Item.flag, False),
        labels=_said(parts, "labels", Item.pairs, {}),
        options=options,
    )


def _service(
    name: str,
    item: Item,
    volumes: Mapping[str, tuple[str | None, dict[str, str]]],
    known: Mapping[str, set[str]],
) -> Service:
    parts = item.keys(
        *(
            "image",
            "command",
            "entrypoint",
            "environment",
            "deploy",
            "networks",
            "ports",
            "volumes",
        ),
        *("configs", "secrets", "healthcheck", "hostname", "labels", "logging", "init", "cap_add"),
        *("cap_drop", "dns", "dns_search", "stop_signal", "stop_grace_period", "sysctls", "user"),
        *("working_dir", "read_only"),
    )
    if "image" not in parts:
        raise item.wrong("it has no image")
    networks = _attachments(parts)
    for kind in ("networks", "configs", "secrets"):
        _refuse_unknown(parts, kind, known[kind])
    deploy = (
        parts["deploy"].keys(
            *("mode", "replicas", "placement", "resources", "restart_policy", "update_config"),
            *("rollback_config", "endpoint_mode", "labels"),
        )
        if "deploy" in parts
        else {}
    )
    placement = _of_keys(deploy, "placement", "constraints", "preferences", "max_replicas_per_node")
    resources = _of_keys(deploy, "resources", "limits", "reservations")
    replicas, job = _mode(deploy)
    return _made(
        item,
        Service,
        name=name,
        image=parts["image"].text(),
        networks=tuple(networks),
        aliases={network: names for network, names in networks.items() if names},
        replicas=replicas,
        job=job,
        command=_said(parts, "entrypoint", _words, ()),
        args=_said(parts, "command", _words, ()),
        env=_said(parts, "environment", Item.pairs, {}),
        ports=_said(parts, "ports", _ports, ()),
        mounts=tuple(
            _mount(each, volumes)
            for each in (parts["volumes"].items() if "volumes" in parts else [])
        ),
        configs=_said(parts, "configs", _files, ()),
        secrets=_said(parts, "secrets", _files, ()),
        health=_said(parts, "healthcheck", _health, None),
        hostname=_said(parts, "hostname", Item.text, None),
        container_labels=_said(parts, "labels", Item.pairs, {}),
        log=_said(parts, "logging", _log, None),
        init=_said(parts, "init", Item.flag, None),
        cap_add=_said(parts, "cap_add", Item.texts, ()),
        cap_drop=_said(parts, "cap_drop", Item.texts, ()),
        dns=Dns(_said(parts, "dns", Item.texts, ()), _said(parts, "dns_search", Item.texts, ())),
        stop_signal=_said(parts, "stop_signal", Item.text, None),
        stop_grace=_said(parts, "stop_grace_period", Item.seconds, _STOP_GRACE),
        sysctls=_said(parts, "sysctls", Item.pairs, {}),
        user=_said(parts, "user", Item.text, None),
        workdir=_said(parts, "working_dir", Item.text, None),
        read_only=_said(parts, "read_only", Item.flag, False),
        labels=_said(deploy, "labels", Item.pairs, {}),
        endpoint=_said(deploy, "endpoint_mode", lambda each: each.one_of("vip", "dnsrr"), None),
        constraints=_said(placement, "constraints", Item.texts, ()),
        preferences=tuple(
            each.keys("spread")["spread"].text()
            for each in (placement["preferences"].items() if "preferences" in placement else [])
        ),
        max_per_node=_said(placement, "max_replicas_per_node", Item.integer, None),
        limit=_said(resources, "limits", _limits, Resources()),
        reserve=_said(resources, "reservations", _reservations, Resources()),
        restart=_said(deploy, "restart_policy", _restart, RestartPolicy()),
        update=_said(deploy, "update_config", _update, None),
        rollback=_said(deploy, "rollback_config", _update, None),
    )


def _of_keys(parts: Mapping[str, Item], key: str, *known: str) -> dict[str, Item]:
    return parts[key].keys(*known) if key in parts else {}


def _said(
    parts: Mapping[str, Item], key: str, read_as: Callable[[Item], Any], otherwise: Any
) -> Any:
    return read_as(parts[key]) if key in parts and parts[key].value is not None else otherwise


def _made(item: Item, kind: Callable[..., T], **facts: Any) -> T:
    """Make a part of the workload; what it refuses by itself is wrong where ``item`` is."""
    try:
        return kind(**facts)
    except UsageError as error:
        raise item.wrong(error.what) from None


def _attachments(parts: Mapping[str, Item]) -> dict[str, tuple[str, ...]]:
    if "networks" not in parts:
        return {DEFAULT_NETWORK: ()}
    if not parts["networks"].is_mapping:
        return dict.fromkeys(parts["networks"].texts(), ())
    return {
        name: _said(item.keys("aliases"), "aliases", Item.texts, ())
        for name, item in parts["networks"].mapping().items()
    }


def _refuse_unknown(parts: Mapping[str, Item], kind: str, known: set[str]) -> None:
    if kind not in parts:
        return
    item = parts[kind]
    each = item.mapping().items() if item.is_mapping else [(None, part) for part in item.items()]
    for key, part in each:
        name = key or (part.mapping()["source"] if part.is_mapping else part).text()
        if name not in known:
            raise part.wrong(f"there is no {kind[:-1]} {name!r}: declare it under {kind}")


def _mode(deploy: Mapping[str, Item]) -> tuple[int | None, Job | None]:
    modes = ("replicated", "global", "replicated-job", "global-job")
    mode = _said(deploy, "mode", lambda each: each.one_of(*modes), "replicated")
    replicas = _said(deploy, "replicas", Item.integer, 1)
    if mode.startswith("global"):
        if "replicas" in deploy:
            raise deploy["replicas"].wrong(f"a service of mode {mode} has no replicas")
        return None, Job() if mode == "global-job" else None
    if mode == "replicated":
        return replicas, None
    return 1, _made(deploy["mode"], Job, completions=replicas, at_once=replicas)


def _words(item: Item) -> tuple[str, ...]:
    return item.texts() if item.is_list else tuple(shlex.split(item.text()))


def _ports(item: Item) -> tuple[Port, ...]:
    return tuple(_port(each) for each in item.items())


def _port(item: Item) -> Port:
    if item.is_mapping:
        parts = item.keys("target", "published", "protocol", "mode")
        if "target" not in parts:
            raise item.wrong("it has no target")
        return _made(
            item,
            Port,
            target=parts["target"].integer(),
            published=_said(parts, "published", Item.integer, None),
            protocol=_said(
                parts, "protocol", lambda each: each.one_of("tcp", "udp", "sctp"), "tcp"
            ),
            mode=_said(parts, "mode", lambda each: each.one_of("ingress", "host"), "ingress"),
        )
    ports, _, protocol = item.text().partition("/")
    numbers = ports.split(":")
    if len(numbers) > 2 or not all(number.isdigit() for number in numbers):
        raise item.wrong(f"{item.text()!r} is not a port: write 8080:80, or 53:53/udp")
    if protocol not in ("", "tcp", "udp", "sctp"):
        raise item.wrong(f"{protocol!r} is none of tcp, udp, sctp")
    published = int(numbers[0]) if len(numbers) == 2 else None
    return _made(
        item, Port, target=int(numbers[-1]), published=published, protocol=protocol or "tcp"
    )


def _refuse_ports_taken_twice(items: Mapping[str, Item], services: Mapping[str, Service]) -> None:
    taken: dict[tuple[int, str], str] = {}
    for name, service in services.items():
        where = items[name].mapping().get("ports")
        for number, port in enumerate(service.ports):
            if port.published is None or where is None:
                continue
            key = (port.published, port.protocol)
            if key in taken:
                raise where.items()[number].wrong(
                    f"{port.published}/{port.protocol} is published by {taken[key]} already"
                )
            taken[key] = name


def _mount(item: Item, volumes: Mapping[str, tuple[str | None, dict[str, str]]]) -> Mount:
    if not item.is_mapping:
        source, _, rest = item.text().partition(":")
        target, _, mode = rest.partition(":")
        kind = "bind" if source.startswith("/") else "volume"
        if not target or mode not in ("", "ro", "rw"):
            raise item.wrong(f"{item.text()!r} is not a mount: write SOURCE:TARGET, or …:ro")
        facts: dict[str, Any] = {"type": kind, "source": source, "read_only": mode == "ro"}
    else:
        parts = item.keys("type", "source", "target", "read_only", "tmpfs")
        kind = _said(parts, "type", lambda each: each.one_of("volume", "bind", "tmpfs"), "volume")
        tmpfs = _of_keys(parts, "tmpfs", "size")
        if "target" not in parts:
            raise item.wrong("it has no target")
        target = parts["target"].text()
        facts = {
            "type": kind,
            "source": _said(parts, "source", Item.text, None),
            "read_only": _said(parts, "read_only", Item.flag, False),
            "size": _said(tmpfs, "size", Item.integer, None),
        }
    if kind == "volume" and facts["source"]:
        if facts["source"] not in volumes:
            raise item.wrong(f"there is no volume {facts['source']!r}: declare it under volumes")
        driver, options = volumes[facts["source"]]
        facts |= {"driver": driver, "options": options}
    return _made(item, Mount, target=target, **facts)


def _files(item: Item) -> tuple[FileFrom, ...]:
    return tuple(_file(each) for each in item.items())


def _file(item: Item) -> FileFrom:
    if not item.is_mapping:
        return FileFrom(item.text())
    parts = item.keys("source", "target", "uid", "gid", "mode")
    return FileFrom(
        parts["source"].text(),
        _said(parts, "target", Item.text, None),
        _said(parts, "uid", Item.text, "0"),
        _said(parts, "gid", Item.text, "0"),
        _said(parts, "mode", Item.integer, 0o444),
    )


def _health(item: Item) -> HealthCheck:
    parts = item.keys("test", "interval", "timeout", "retries", "start_period", "start_interval")
    if "test" not in parts:
        raise item.wrong("it has no test")
    test = parts["test"]
    return HealthCheck(
        test.texts() if test.is_list else ("CMD-SHELL", test.text()),
        interval=_said(parts, "interval", Item.seconds, None),
        timeout=_said(parts, "timeout", Item.seconds, None),
        retries=_said(parts, "retries", Item.integer, None),
        start_period=_said(parts, "start_period", Item.seconds, None),
        start_interval=_said(parts, "start_interval", Item.seconds, None),
    )


def _log(item: Item) -> LogDriver:
    parts = item.keys("driver", "options")
    if "driver" not in parts:
        raise item.wrong("it has no driver")
    return LogDriver(parts["driver"].text(), _said(parts, "options", Item.pairs, {}))


def _limits(item: Item) -> Resources:
    parts = item.keys("cpus", "memory", "pids")
    return Resources(
        memory=_said(parts, "memory", Item.size, None),
        cpus=_said(parts, "cpus", Item.number, None),
        pids=_said(parts, "pids", Item.integer, None),
    )


def _reservations(item: Item) -> Resources:
    parts = item.keys("cpus", "memory", "generic_resources")
    generic = {}
    for each in parts["generic_resources"].items() if "generic_resources" in parts else []:
        spec = each.keys("discrete_resource_spec")["discrete_resource_spec"].keys("kind", "value")
        generic[spec["kind"].text()] = spec["value"].integer()
    return Resources(
        memory=_said(parts, "memory", Item.size, None),
        cpus=_said(parts, "cpus", Item.number, None),
        generic=generic,
    )


def _restart(item: Item) -> RestartPolicy:
    parts = item.keys("condition", "delay", "max_attempts", "window")
    condition = _said(parts, "condition", lambda c: c.one_of("none", "on-failure", "any"), None)
    return RestartPolicy(
        condition,
        delay=_said(parts, "delay", Item.seconds, 5.0),
        attempts=_said(parts, "max_attempts", Item.integer, None),
        window=_said(parts, "window", Item.seconds, None),
    )


def _update(item: Item) -> UpdateConfig:
    parts = item.keys(
        "parallelism", "delay", "order", "monitor", "failure_action", "max_failure_ratio"
    )
    return UpdateConfig(
        _said(parts, "parallelism", Item.integer, 1),
        delay=_said(parts, "delay", Item.seconds, None),
        order=_said(parts, "order", lambda each: each.one_of("stop-first", "start-first"), None),
        monitor=_said(parts, "monitor", Item.seconds, None),
        failure_action=_said(
            parts, "failure_action", lambda each: each.one_of("pause", "continue", "rollback"), None
        ),
        max_failure_ratio=_said(parts, "max_failure_ratio", Item.number, None),
    )
