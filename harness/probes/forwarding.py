"""How a node sends to a network's other tasks: neighbour and forwarding entries of the overlay."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from harness.lab import Node
from harness.probes.containers import Life
from harness.probes.sampling.netns import NetworkNamespace, from_a_thread

_SELF = 0x02  # NTF_SELF
_PERMANENT = 0x80  # NUD_PERMANENT


@dataclass(frozen=True)
class Forwarding:
    """What a node's overlay knows of one address: its MAC, and the node behind it (an address).

    Either is "" where the entry is missing: without the MAC nobody can be asked for it, without
    the node what is sent goes nowhere (moby#52661).
    """

    address: str
    mac: str
    behind: str


def overlay_of(node: Node, network: str) -> Path:
    """Return the namespace in which a node has the bridge and the vxlan of a network (id)."""
    return Path(f"/proc/{node.here.pid}/root/run/docker/netns/1-{network[:10]}")


def forwarding(node: Node, network: str) -> dict[str, Forwarding]:
    """Return the permanent entries by address; :class:`LabError` if it is not in the network."""
    namespace = NetworkNamespace(overlay_of(node, network))

    def read() -> tuple[list[Any], list[Any]]:
        with namespace.entered(), IPRoute() as route:
            return list(route.get_neighbours()), list(route.get_neighbours(family=socket.AF_BRIDGE))

    try:
        neighbours, bridge = from_a_thread(read)
    finally:
        namespace.close()
    macs = {
        str(each.get_attr("NDA_DST")): str(each.get_attr("NDA_LLADDR"))
        for each in neighbours
        if each["state"] & _PERMANENT and each.get_attr("NDA_DST")
    }
    behind = {
        str(each.get_attr("NDA_LLADDR")): str(each.get_attr("NDA_DST"))
        for each in bridge
        if each["flags"] & _SELF and each.get_attr("NDA_DST")
    }
    return {address: Forwarding(address, mac, behind.get(mac, "")) for address, mac in macs.items()}


def wrong_forwarding(
    node: Node,
    network: str,
    entries: Iterable[Forwarding],
    lives: Iterable[Life],
    nodes: Mapping[str, str],
) -> list[str]:
    """Return how a node's entries do not fit the running tasks, as sentences.

    ``network``: its name; ``nodes``: node name -> address. Entries that belong to no task
    (vantage containers, load balancers) are ignored.
    """
    by_address = {entry.address: entry for entry in entries}
    problems = []
    for life in lives:
        if life.ended is not None or life.leaving is not None or life.node == node.name:
            continue
        if (address := life.addresses.get(network)) is None:
            continue
        entry = by_address.get(address)
        if entry is None:
            problems.append(f"{node.name}: no neighbour entry for {address} ({life.name})")
        elif entry.behind != nodes.get(life.node):
            where = entry.behind or "nowhere"
            problems.append(f"{node.name}: {address} ({life.name} on {life.node}) leads to {where}")
    return problems
