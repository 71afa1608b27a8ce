"""What containers have made of the network on each node: sandboxes, interfaces, endpoints, IPVS.

A container that is gone must leave none of them. Two readings are compared, so that what the swarm
itself needs (its ingress network, the bridge to the node) need not be known.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import LabError
from harness.lab import Node
from harness.probes.ipvs import TABLE, destinations_in
from harness.probes.sampling.netns import NetworkNamespace, from_a_thread
from harness.swarm import ask


def network_objects(nodes: Iterable[Node]) -> frozenset[str]:
    """Return what there is on nodes, as phrases: ``sandbox 1-x2k3 on w1``.

    Containers (ended ones too), network namespaces that the engine holds, interfaces of the node,
    endpoints of its networks, and real servers of IPVS. Raise :class:`~harness.swarm.NoAnswer`
    when an engine does not answer.
    """
    return frozenset(
        f"{each} on {node.name}"
        for node in nodes
        for each in (*_containers(node), *_sandboxes(node), *_interfaces(node), *_endpoints(node))
    )


def _containers(node: Node) -> Iterator[str]:
    for each in ask(node, lambda api: api.api.containers(all=True)):
        yield f"container {each['Names'][0].lstrip('/')}"


def _sandboxes(node: Node) -> Iterator[str]:
    folder = Path(f"/proc/{node.here.pid}/root/run/docker/netns")
    for path in sorted(folder.glob("*")):
        # A sandbox is mounted on its file; a file alone is for libnetwork to sweep once a minute.
        if not _mounted(path, folder):
            continue
        yield f"sandbox {path.name}"
        if TABLE.exists():
            for each in destinations_in(_ipvs_of(path)):
                yield f"real server {each.address} of mark {each.mark} in {path.name}"


def _mounted(path: Path, folder: Path) -> bool:
    try:
        return path.stat().st_dev != folder.stat().st_dev
    except OSError:  # it went while it was looked at
        return False


def _interfaces(node: Node) -> Iterator[str]:
    for _, name in node.here.network.call(socket.if_nameindex):
        yield f"interface {name}"


def _endpoints(node: Node) -> Iterator[str]:
    def inspected(api: Any) -> list[dict[str, Any]]:
        return [api.api.inspect_network(each["Id"]) for each in api.api.networks()]

    for network in ask(node, inspected):
        for endpoint in (network.get("Containers") or {}).values():
            yield f"endpoint {endpoint['Name']} in {network['Name']}"


def _ipvs_of(sandbox: Path) -> str:
    try:
        namespace = NetworkNamespace(sandbox)
    except LabError:  # it went while it was looked at
        return ""

    def read() -> str:
        with namespace.entered():
            return TABLE.read_text()

    try:
        return from_a_thread(read)
    except (LabError, OSError):
        return ""
    finally:
        namespace.close()
