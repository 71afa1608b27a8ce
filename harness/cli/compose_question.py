"""What `swarm-chaos try` asks a compose file: what of it a stack heeds, and where users enter."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UsageError
from harness.swarm import Service, Workload

#: What `docker stack deploy` ignores in a service, with a warning or without one (docker/cli
#: cli/compose/types, UnsupportedProperties and DeprecatedProperties), and what only a build needs.
IGNORED = (
    *("build", "cgroup_parent", "container_name", "cpu_count", "cpu_percent", "cpus", "cpuset"),
    *("depends_on", "devices", "domainname", "env_file", "expose", "extends", "external_links"),
    *("ipc", "links", "mac_address", "mem_limit", "memswap_limit", "network_mode", "pid"),
    *("platform", "privileged", "profiles", "pull_policy", "restart", "security_opt"),
    *("stdin_open", "tmpfs", "tty", "userns_mode"),
)


class Wishes(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The file's ``x-chaos``: where users enter, and what is expected for them.

    ``entry`` is the service that they ask, at ``path``; ``users`` each ask once a second. ``lost``
    is the share of requests that may be lost at nodes that live, ``back`` the seconds until every
    task runs again after a fault.
    """

    entry: str = ""
    path: str = "/"
    users: int = 10
    lost: float = 0.05
    back: float = 120.0


@dataclass(frozen=True)
class Question:
    """What the battery is given: the stack's name, where users enter, what is expected."""

    name: str
    entry: str | None
    port: int | None
    path: str
    users: int
    lost: float
    back: float
    replicated: bool
    """Whether a service has a number of replicas: only those can lack a place."""

    def json(self) -> bytes:
        """Return it for the scenario."""
        return msgspec.json.format(msgspec.json.encode(asdict(self)), indent=2) + b"\n"


def heeded(text: str, file: Path) -> tuple[str, Wishes, list[str]]:
    """Return what a stack heeds of a compose file, its ``x-chaos``, and what was left out.

    Raises :class:`UsageError` with the place for what cannot be read.
    """
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{file}{where}: this is not YAML: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise UsageError(f"{file}: it has no services", hint="give a compose file")
    wishes = _wishes(document.get("x-chaos") or {}, file)
    left_out = [key for key in document if key == "name" or str(key).startswith("x-")]
    kept: dict[str, Any] = {key: each for key, each in document.items() if key not in left_out}
    kept["services"] = {}
    for name, service in document["services"].items():
        ignored = [key for key in service or {} if key in IGNORED or str(key).startswith("x-")]
        left_out.extend(f"services.{name}.{key}" for key in ignored)
        kept["services"][name] = {k: v for k, v in (service or {}).items() if k not in ignored}
    return yaml.safe_dump(kept, sort_keys=False), wishes, [o for o in left_out if o != "x-chaos"]


def _wishes(written: Any, file: Path) -> Wishes:
    try:
        wishes = msgspec.convert(written, Wishes)
    except msgspec.ValidationError as error:
        known = ", ".join(Wishes.__struct_fields__)
        raise UsageError(f"{file}: x-chaos: {error}", hint=f"it may have {known}") from None
    if not 0 <= wishes.lost <= 1:
        raise UsageError(f"{file}: x-chaos: lost is a share: give 0 to 1")
    if wishes.users < 1 or wishes.back <= 0:
        raise UsageError(f"{file}: x-chaos: users and back have to be above 0")
    if not wishes.path.startswith("/"):
        raise UsageError(f"{file}: x-chaos: path begins with /")
    return wishes


def question_of(workload: Workload, wishes: Wishes, *, mesh: bool) -> Question:
    """Return where users enter a stack: the service that ``x-chaos`` names, or the first that can.

    Can: it publishes a TCP port at every node, by the routing mesh (if the lab has a ``mesh``) or
    as a global service in host mode. Raises :class:`UsageError` if the one that is named cannot.
    """
    doors = {s.name: port for s in workload.services if (port := _door(s, mesh=mesh)) is not None}
    if wishes.entry and wishes.entry not in doors:
        raise UsageError(
            f"x-chaos: entry: {wishes.entry!r} publishes no TCP port at every node of this lab",
            hint=f"those that do: {', '.join(doors) or 'none'}; in the namespaces lab of a kernel "
            "without ip_vs, only a global service with a port in host mode does",
        )
    entry = wishes.entry or next(iter(doors), None)
    return Question(
        name=workload.name,
        entry=entry,
        port=doors[entry] if entry else None,
        path=wishes.path,
        users=wishes.users,
        lost=wishes.lost,
        back=wishes.back,
        replicated=any(s.replicas is not None and s.job is None for s in workload.services),
    )


def _door(service: Service, *, mesh: bool) -> int | None:
    """Return the port at which every node answers for a service; None without one."""
    for port in service.ports:
        everywhere = mesh if port.mode == "ingress" else service.replicas is None
        if port.published and port.protocol == "tcp" and everywhere:
            return port.published
    return None
