"""A picture of a swarm: what managers list, and what runs on the nodes that are to be up.

Read from the API's own answers and from the kernel. Nothing is waited for, and whoever does not
answer is in the picture with the reason.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.errors import LabError
from harness.lab import Node
from harness.lab.client import UnixConnection
from harness.lab.processes import children, comm

_OVERLAYS = quote(json.dumps({"driver": ["overlay"]}))

NOT_LOOKED_AT = 0

Listed = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Listing:
    """What one manager lists, as the API gives it."""

    nodes: Listed = ()
    services: Listed = ()
    tasks: Listed = ()
    networks: Listed = ()


@dataclass(frozen=True)
class Running:
    """A container that an engine lists as running; ``task`` is "" for one that is no task's.

    ``addresses`` by network name. ``pid`` is the process that the kernel has for it on this side,
    None if it has none, :data:`NOT_LOOKED_AT` if the kernel is another machine's.
    """

    id: str
    task: str
    service: str
    slot: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None

    @property
    def name(self) -> str:
        """The task's own name: ``app.2.<task id>``."""
        return f"{self.service}.{self.slot}.{self.task}"


@dataclass(frozen=True)
class Local:
    """What a node itself shows: ``member`` is its id, ``state`` its own word for its membership.

    ``error``: why it does not answer. ``unlisted`` are containers that the kernel runs and the
    engine does not list.
    """

    member: str = ""
    state: str = ""
    manages: bool = False
    error: str = ""
    running: tuple[Running, ...] = ()
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """All of it at about one moment, by the names of nodes.

    ``local`` has the nodes that are up with a dockerd that runs; ``listings`` what those that
    manage answered, or why they did not.
    """

    local: Mapping[str, Local] = field(default_factory=dict)
    listings: Mapping[str, Listing | str] = field(default_factory=dict)

    @property
    def truth(self) -> Listing | None:
        """What the first manager that answers lists; None if none answers."""
        return next((each for each in self.listings.values() if isinstance(each, Listing)), None)


def take_picture(nodes: Iterable[Node], patience: float) -> Picture:
    """Read a picture of those of these nodes that are up with a dockerd that runs.

    ``patience`` is for each answer, in seconds.
    """
    here = [node for node in nodes if node.up and node.dockerd.alive]
    local = {node.name: _local(node, patience) for node in here}
    listings = {node.name: _listing(node, patience) for node in here if local[node.name].manages}
    return Picture(local, listings)


def _listing(node: Node, patience: float) -> Listing | str:
    try:
        return Listing(
            nodes=get(node, "/nodes", patience),
            services=get(node, "/services", patience),
            tasks=get(node, "/tasks", patience),
            networks=get(node, f"/networks?filters={_OVERLAYS}", patience),
        )
    except LabError as error:
        return error.what


def _local(node: Node, patience: float) -> Local:
    try:
        swarm = get(node, "/info", patience).get("Swarm") or {}
        listed = get(node, "/containers/json", patience)
        shims = _shims(node)
    except LabError as error:
        return Local(error=error.what)
    return Local(
        member=swarm.get("NodeID", ""),
        state=swarm.get("LocalNodeState", ""),
        manages=bool(swarm.get("ControlAvailable")),
        running=tuple(running_in(each, shims) for each in listed),
        unlisted=tuple(sorted(set(shims or ()) - {each["Id"] for each in listed})),
    )


def running_in(found: Mapping[str, Any], shims: Mapping[str, int] | None) -> Running:
    """Return one element of ``GET /containers/json``, with the pid that its shim has for it.

    ``shims`` None: the node's processes cannot be looked at from here.
    """
    labels = found.get("Labels") or {}
    service = labels.get("com.docker.swarm.service.name", "")
    name = labels.get("com.docker.swarm.task.name", "")  # <service>.<slot>.<task>
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = {}
    for network, attached in networks.items():
        own = (attached.get("IPAMConfig") or {}).get("IPv4Address", "")
        if address := attached.get("IPAddress") or own:
            addresses[network] = address
    return Running(
        id=found["Id"],
        task=labels.get("com.docker.swarm.task.id", ""),
        service=service,
        slot=name.removeprefix(f"{service}.").partition(".")[0],
        addresses=addresses,
        pid=NOT_LOOKED_AT if shims is None else shims.get(found["Id"]),
    )


def _shims(node: Node) -> dict[str, int] | None:
    try:
        return shims_of(node)
    except LabError:
        return None  # it does not share this kernel


def shims_of(node: Node) -> dict[str, int]:
    """Return container id -> pid of its first process, as the kernel has them on a node.

    Whoever made it, a container lives below a shim, and the shim below the node's init. Raises
    :class:`LabError` for a node that does not share this kernel.
    """
    found = {}
    for pid in children(node.here.pid):
        if comm(pid).startswith("containerd-shim") and (own := _children(pid)):
            words = _words(pid)
            if "-id" in words[:-1]:
                found[words[words.index("-id") + 1]] = own[0]
    return found


def _children(pid: int) -> list[int]:
    """Those of all threads: a Go program has children of any of them."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended just now
            found += map(int, thread.read_text().split())
    return sorted(found)


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def get(node: Node, path: str, patience: float) -> Any:
    """Return the answer to a GET; :class:`LabError` with the reason if there is none."""
    try:
        connection = UnixConnection(node.dockerd.socket, timeout=patience)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = json.loads(response.read())
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = error or type(error).__name__
        raise LabError(f"{node.name} does not answer {path}: {why}") from error
    if response.status != http.client.OK:
        raise LabError(f"{node.name} answers {path}: {body.get('message', response.status)}")
    return body
