"""What a swarm has allocated: subnets, VXLAN ids and addresses, and what it allocated twice.

Read from a manager's API: networks with their pools and ids, services with their virtual
addresses, tasks that are meant to run with theirs. Two owners of one address in one network, two
networks of one id, and subnets that overlap are what no swarm may ever show (swarmkit#1773,
swarmkit#2571, moby#33789).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harness.lab import Node
from harness.swarm import SwarmClient

_VXLAN_IDS = "com.docker.network.driver.overlay.vxlanid_list"

#: States in which a task has given its addresses back.
_OVER = frozenset({"complete", "shutdown", "failed", "rejected", "orphaned", "remove"})


@dataclass(frozen=True)
class Network:
    """An overlay network: its name, its subnets, its VXLAN ids, its gateways."""

    id: str
    name: str
    subnets: tuple[str, ...]
    vxlan_ids: tuple[int, ...]
    gateways: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """One address in a network, and whose it is."""

    network: str
    address: str
    owner: str


@dataclass(frozen=True)
class Allocation:
    """What is allocated, by one manager's view; ``allocation(swarm).shared_addresses()``."""

    networks: tuple[Network, ...]
    given: tuple[Given, ...]

    def shared_addresses(self) -> list[str]:
        """Return addresses with two owners in one network, as sentences."""
        owners: dict[tuple[str, str], set[str]] = {}
        for each in self.given:
            owners.setdefault((each.network, each.address), set()).add(each.owner)
        return [
            f"{address} in {network} is {' and '.join(sorted(whose))}"
            for (network, address), whose in sorted(owners.items())
            if len(whose) > 1
        ]

    def shared_vxlan_ids(self) -> list[str]:
        """Pairs of networks that have a VXLAN id in common, in words."""
        return [
            f"{one.name} and {other.name} are both {id_}"
            for one, other in combinations(self.networks, 2)
            for id_ in sorted(set(one.vxlan_ids) & set(other.vxlan_ids))
        ]

    def overlapping_subnets(self) -> list[str]:
        """Pairs of subnets that overlap, in words."""
        subnets = [
            (network.name, ipaddress.ip_network(subnet))
            for network in self.networks
            for subnet in network.subnets
        ]
        return [
            f"{subnet} of {name} and {other} of {whose}"
            for (name, subnet), (whose, other) in combinations(subnets, 2)
            if subnet.version == other.version and subnet.overlaps(other)
        ]


def allocation(swarm: SwarmClient, by: Node | None = None) -> Allocation:
    """Return what a manager (``by``, or the first that answers) says was allocated.

    Raises :class:`~harness.swarm.NoAnswer` when none answers.
    """
    return allocated(
        swarm.ask(lambda api: api.api.networks(filters={"driver": "overlay"}), by=by),
        swarm.ask(lambda api: api.api.services(), by=by),
        swarm.ask(lambda api: api.api.tasks(), by=by),
    )


def allocated(
    networks: Iterable[Mapping[str, Any]],
    services: Iterable[Mapping[str, Any]],
    tasks: Iterable[Mapping[str, Any]],
) -> Allocation:
    """Return the same from the API's own answers (``/networks``, ``/services``, ``/tasks``)."""
    known = {attrs["Id"]: _network(attrs) for attrs in networks}
    given = [
        Given(network.name, gateway, "the gateway")
        for network in known.values()
        for gateway in network.gateways
    ]
    for attrs in services:
        given += [
            Given(network.name, _bare(each["Addr"]), attrs["Spec"]["Name"])
            for each in (attrs.get("Endpoint") or {}).get("VirtualIPs") or ()
            if each.get("Addr") and (network := known.get(each["NetworkID"]))
        ]
    for attrs in tasks:
        if attrs["Status"]["State"] in _OVER:
            continue
        for each in attrs.get("NetworksAttachments") or ():
            if network := known.get(each["Network"]["ID"]):
                given += [
                    Given(network.name, _bare(address), f"task {attrs['ID']}")
                    for address in each.get("Addresses") or ()
                ]
    return Allocation(tuple(known.values()), tuple(given))


def _network(attrs: Mapping[str, Any]) -> Network:
    pools = (attrs.get("IPAM") or {}).get("Config") or ()
    ids = (attrs.get("Options") or {}).get(_VXLAN_IDS, "")
    return Network(
        id=attrs["Id"],
        name=attrs["Name"],
        subnets=tuple(pool["Subnet"] for pool in pools if pool.get("Subnet")),
        vxlan_ids=tuple(int(word) for word in ids.split(",") if word),
        gateways=tuple(_bare(pool["Gateway"]) for pool in pools if pool.get("Gateway")),
    )


def _bare(address: str) -> str:
    return address.partition("/")[0]
