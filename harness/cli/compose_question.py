"""What `swarm-chaos try` asks a compose file: what of it a stack heeds, and where users enter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.cli.compose_environment import FileReader, environment_of, filled_in
from harness.errors import UsageError
from harness.images.stack_images import Reference
from harness.lab import Topology
from harness.pytest_plugin.battery import Question
from harness.swarm import Service, Workload

#: What `docker stack deploy` ignores in a service, with a warning or without one (docker/cli
#: cli/compose/types, UnsupportedProperties and DeprecatedProperties), and what only a build needs.
IGNORED = (
    *("build", "cgroup_parent", "container_name", "cpu_count", "cpu_percent", "cpus", "cpuset"),
    *("depends_on", "devices", "domainname", "expose", "extends", "external_links"),
    *("ipc", "links", "mac_address", "mem_limit", "memswap_limit", "network_mode", "pid"),
    *("platform", "privileged", "profiles", "pull_policy", "restart", "security_opt"),
    *("stdin_open", "tmpfs", "tty", "userns_mode"),
)


#: Log drivers that work on a node of a lab as they do elsewhere, and the one whose collector the
#: lab can stand in for.
_LOG_DRIVERS = ("json-file", "local", "none", "gelf")


class Wishes(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The file's ``x-chaos``: where users enter, and what is expected for them.

    ``entry`` is the service that they ask, at ``path``; ``users`` each ask once a second. ``lost``
    is the share of requests that may be lost at nodes that live, ``back`` the seconds until every
    task runs again after a fault, ``held`` how many seconds a fault lasts (None: as each experiment
    has it).
    """

    entry: str = ""
    path: str = "/"
    users: int | None = None
    lost: float = 0.05
    back: float = 120.0
    held: float | None = None


@dataclass(frozen=True)
class Heeded:
    """What a stack heeds of a compose file, as text, and what the file says besides.

    ``images`` go by the names that they have on nodes: what is pinned by digest gets a tag.
    """

    text: str
    wishes: Wishes
    left_out: list[str]
    images: list[Reference]


def heeded(text: str, file: Path, contents: FileReader, environment: Mapping[str, str]) -> Heeded:
    """Return what a stack heeds, with all that the file takes from the ``environment`` filled in.

    ``contents`` returns a file beside it. :class:`UsageError` with the place for what cannot be
    read.
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
    document = filled_in(document, environment, str(file))
    wishes = _wishes(document.get("x-chaos") or {}, file)
    left_out = [key for key in document if key == "name" or str(key).startswith("x-")]
    kept: dict[str, Any] = {key: each for key, each in document.items() if key not in left_out}
    kept["services"], images = {}, dict[str, Reference]()
    for name, service in document["services"].items():
        if not isinstance(service, dict):
            raise UsageError(f"{file}: services.{name} has no image", hint="give it `image: NAME`")
        ignored = [key for key in service if key in IGNORED or str(key).startswith("x-")]
        left_out.extend(f"services.{name}.{key}" for key in ignored)
        driver = _log_driver(service)
        if driver not in _LOG_DRIVERS:
            ignored.append("logging")
            left_out.append(f"services.{name}.logging (a lab has nothing for {driver} to send to)")
        kept["services"][name] = {k: v for k, v in service.items() if k not in ignored}
        variables = environment_of(service, environment, contents, f"{file}: services.{name}")
        if variables:
            kept["services"][name]["environment"] = variables
        kept["services"][name].pop("env_file", None)
        if isinstance(image := service.get("image"), str):
            reference = Reference.parse(image)
            images[reference.local] = reference
            kept["services"][name]["image"] = reference.local
    return Heeded(
        yaml.safe_dump(kept, sort_keys=False),
        wishes,
        [each for each in left_out if each != "x-chaos"],
        [*images.values()],
    )


def _log_driver(service: dict[str, Any]) -> str:
    logging = service.get("logging")
    driver = logging.get("driver") if isinstance(logging, dict) else None
    return driver if isinstance(driver, str) else "json-file"


def _wishes(written: Any, file: Path) -> Wishes:
    try:
        wishes = msgspec.convert(written, Wishes)
    except msgspec.ValidationError as error:
        known = ", ".join(Wishes.__struct_fields__)
        raise UsageError(f"{file}: x-chaos: {error}", hint=f"it may have {known}") from None
    if not 0 <= wishes.lost <= 1:
        raise UsageError(f"{file}: x-chaos: lost is a share: give 0 to 1")
    if wishes.back <= 0 or (wishes.held is not None and wishes.held <= 0):
        raise UsageError(f"{file}: x-chaos: back and held are seconds, above 0")
    if not wishes.path.startswith("/"):
        raise UsageError(f"{file}: x-chaos: path begins with /")
    return wishes


def question_of(
    workload: Workload,
    wishes: Wishes,
    *,
    mesh: bool,
    topology: Topology,
    not_applicable: dict[str, str],
) -> Question:
    """Return where users enter a stack: the service that ``x-chaos`` names, or the first that can.

    Can: it publishes a TCP port at every node, by the routing mesh (if the lab has a ``mesh``) or
    as a global service in host mode. Raises :class:`UsageError` if the one that is named cannot,
    and for too few users to ask every node.
    """
    doors = {s.name: port for s in workload.services if (port := _door(s, mesh=mesh)) is not None}
    if wishes.entry and wishes.entry not in doors:
        raise UsageError(
            f"x-chaos: entry: {wishes.entry!r} publishes no TCP port at every node of this lab",
            hint=f"those that do: {', '.join(doors) or 'none'}; in the namespaces lab of a kernel "
            "without ip_vs, only a global service with a port in host mode does",
        )
    if all(service.job is not None for service in workload.services):
        raise UsageError("all services of the stack are jobs: none is to run on after a fault")
    nodes = topology.managers + topology.workers
    if wishes.users is not None and wishes.users < 2 * nodes:
        raise UsageError(
            f"x-chaos: users: {wishes.users} cannot ask each of {nodes} nodes both over new "
            "connections and over kept ones",
            hint=f"give at least {2 * nodes}, or leave it out",
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
        held=wishes.held,
        not_applicable=not_applicable,
    )


def _door(service: Service, *, mesh: bool) -> int | None:
    """Return the port at which every node answers for a service; None without one."""
    for port in service.ports:
        everywhere = mesh if port.mode == "ingress" else service.replicas is None
        if port.published and port.protocol == "tcp" and everywhere:
            return port.published
    return None
