"""What a service can say beyond its image and its number: health, resources, updates, files, ports.

Times are in seconds, sizes in bytes. None is "not said": the engine's own default, which is not
repeated here. What an engine refuses by itself (a health check of an unknown kind) can be written
down, since whether it is refused is what scenarios ask; what no engine could be told is a
:class:`UsageError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from harness.errors import UsageError

Protocol = Literal["tcp", "udp", "sctp"]

PublishMode = Literal["ingress", "host"]
"""How a port is published: by every node, or by those that have a task."""


@dataclass(frozen=True)
class LogDriver:
    """A log driver of the engine and its options: ``LogDriver("gelf", {"gelf-address": ...})``."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HealthCheck:
    """How an engine asks a task whether it is well: ``HealthCheck(("CMD", "true"), interval=2)``.

    ``test`` begins with CMD, CMD-SHELL or NONE. ``start_interval`` holds within ``start_period``.
    """

    test: tuple[str, ...]
    interval: float | None = None
    timeout: float | None = None
    retries: int | None = None
    start_period: float | None = None
    start_interval: float | None = None

    def __post_init__(self) -> None:
        _refuse_negative(self, "health check")


@dataclass(frozen=True)
class Job:
    """What makes a service a job, whose tasks end: ``Job(completions=5, at_once=2)``.

    A job of a service with ``replicas=None`` runs once on each node, and has neither number.
    """

    completions: int = 1
    at_once: int = 1

    def __post_init__(self) -> None:
        if self.completions < 1 or self.at_once < 1:
            raise UsageError(
                f"a job of {self.completions} completions, {self.at_once} at once: give 1 or more"
            )


@dataclass(frozen=True)
class Resources:
    """What a service's tasks reserve of a node, or are limited to.

    ``pids`` can only be limited. ``generic`` can only be reserved: a number of what a node says
    that it has (``{"gpu": 1}``), or one of its names (``{"gpu": "uuid-1"}``).
    """

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    generic: Mapping[str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_negative(self, "resources")


@dataclass(frozen=True)
class RestartPolicy:
    """Whether and when swarm replaces a task that has ended.

    ``condition`` None is "any", and "on-failure" for a job, of which "any" is refused.
    ``delay`` is the time between a task's end and its replacement's start. Of ``attempts`` those
    within ``window`` count (None: all).
    """

    condition: Literal["none", "on-failure", "any"] | None = None
    delay: float = 5.0
    attempts: int | None = None
    window: float | None = None

    def __post_init__(self) -> None:
        _refuse_negative(self, "restart policy")


@dataclass(frozen=True)
class UpdateConfig:
    """How a service's tasks are exchanged, in an update or in a rollback.

    ``parallelism`` 0 is all at once. ``monitor`` is how long after its start a task's failure
    counts as the update's.
    """

    parallelism: int = 1
    delay: float | None = None
    order: Literal["stop-first", "start-first"] | None = None
    monitor: float | None = None
    failure_action: Literal["pause", "continue", "rollback"] | None = None
    max_failure_ratio: float | None = None

    def __post_init__(self) -> None:
        _refuse_negative(self, "update config")


@dataclass(frozen=True)
class Port:
    """A port of a service's tasks, and that of the nodes by which it is reached.

    ``published`` None: swarm chooses one from 30000 on.
    """

    target: int
    published: int | None = None
    protocol: Protocol = "tcp"
    mode: PublishMode = "ingress"

    def __post_init__(self) -> None:
        for port in (self.target, self.published):
            if port is not None and not 0 < port < 65536:
                raise UsageError(f"{port} is not a port: give 1 to 65535")


@dataclass(frozen=True)
class Mount:
    """What is mounted at ``target`` in each task.

    ``type`` "volume" (``source`` is its name, None for one of the task's own, ``driver`` and
    ``options`` its own), "bind" (``source`` is a path of the node, which has to be there) or
    "tmpfs" (``size`` in bytes, ``mode`` its permissions).
    """

    target: str
    source: str | None = None
    type: Literal["volume", "bind", "tmpfs"] = "volume"
    read_only: bool = False
    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    mode: int | None = None

    def __post_init__(self) -> None:
        _refuse_negative(self, f"mount at {self.target}")
        if self.type == "bind" and not self.source:
            raise UsageError(f"the bind at {self.target} has no source: give a path of the node")
        if self.type == "tmpfs" and self.source:
            raise UsageError(f"the tmpfs at {self.target} has no source: {self.source!r} is one")
        if self.type != "tmpfs" and (self.size is not None or self.mode is not None):
            raise UsageError(f"the {self.type} at {self.target} has no size or mode: a tmpfs has")
        if self.type != "volume" and (self.driver or self.options):
            raise UsageError(f"the {self.type} at {self.target} has no driver: a volume has")


@dataclass(frozen=True)
class FileFrom:
    """A config or a secret of the workload, as a file in each task.

    ``target`` is its path (for a secret without a slash: below /run/secrets); None is its name.
    """

    name: str
    target: str | None = None
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444


@dataclass(frozen=True)
class Dns:
    """What a task's resolver is told beside the engine's own server: servers, domains, options."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def _refuse_negative(part: Any, what: str) -> None:
    for each in fields(part):
        value = getattr(part, each.name)
        if isinstance(value, int | float) and value < 0:
            raise UsageError(f"{what}: {each.name} cannot be {value}: give 0 or more")
