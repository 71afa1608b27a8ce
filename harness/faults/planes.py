"""Planes: the kinds of traffic between nodes, each identified by its ports.

A cut of 2377 alone leaves gossip alive, a cut of 7946 alone leaves managers content: which plane
is broken decides what a swarm does. Ports are those that Docker documents for Swarm, and those
that registries, log sinks and name servers have by convention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError

Protocol = Literal["tcp", "udp"]

_OWN = re.compile(r"(\d{1,5})/(tcp|udp)")


@dataclass(frozen=True)
class Ports:
    """Packets of one protocol to or from any of these ports."""

    protocol: Protocol
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return "+".join(f"{number}/{self.protocol}" for number in self.numbers)


@dataclass(frozen=True)
class Plane:
    """Traffic of one kind, in both directions of its flows.

    Identified by ``ports``; without ports it is all of ``family``: "ip", or "any" for every
    frame, ARP included.
    """

    name: str
    summary: str
    ports: tuple[Ports, ...] = ()
    family: Literal["any", "ip"] = "ip"

    def __str__(self) -> str:
        return self.name

    def meets(self, other: Plane) -> bool:
        """Return whether a packet can belong to both planes."""
        if not self.ports or not other.ports:
            return True
        mine = {(ports.protocol, number) for ports in self.ports for number in ports.numbers}
        return any(
            (ports.protocol, number) in mine for ports in other.ports for number in ports.numbers
        )


def _plane(name: str, summary: str, *ports: Ports) -> Plane:
    return Plane(name, summary, ports)


EVERYTHING = Plane("everything", "every frame, ARP too: a pulled cable", family="any")
IP = Plane("ip", "all of IP; ARP goes on: a firewall that drops all")
CONTROL = _plane(
    "control", "raft among managers, dispatcher and agents (2377/tcp)", Ports("tcp", (2377,))
)
GOSSIP = _plane(
    "gossip",
    "NetworkDB's gossip and bulk synchronisation (7946/tcp and udp)",
    Ports("tcp", (7946,)),
    Ports("udp", (7946,)),
)
GOSSIP_TCP = _plane(
    "gossip-tcp", "bulk synchronisation and fallback probes (7946/tcp)", Ports("tcp", (7946,))
)
GOSSIP_UDP = _plane("gossip-udp", "probes and broadcasts (7946/udp)", Ports("udp", (7946,)))
DATA = _plane(
    "data",
    "overlay networks: VXLAN as `docker swarm init` sets it up (4789/udp)",
    Ports("udp", (4789,)),
)
API = _plane(
    "api",
    "an engine's API over the network (2375/tcp, 2376/tcp); the lab's own requests go by unix "
    "sockets and are not part of it",
    Ports("tcp", (2375, 2376)),
)
LOGGING = _plane(
    "logging",
    "log sinks: GELF, syslog, fluentd (12201, 514 and 24224, tcp and udp)",
    Ports("tcp", (514, 12201, 24224)),
    Ports("udp", (514, 12201, 24224)),
)
REGISTRY = _plane("registry", "registries (443/tcp, 5000/tcp)", Ports("tcp", (443, 5000)))
DNS = _plane("dns", "name servers (53/tcp and udp)", Ports("tcp", (53,)), Ports("udp", (53,)))

PLANES: Mapping[str, Plane] = {
    plane.name: plane
    for plane in (
        EVERYTHING,
        IP,
        CONTROL,
        GOSSIP,
        GOSSIP_TCP,
        GOSSIP_UDP,
        DATA,
        API,
        LOGGING,
        REGISTRY,
        DNS,
    )
}
"""Every plane with a name, in the order shown."""


def plane_of(plane: str | Plane) -> Plane:
    """Return a plane by its name, or one port as ``8080/tcp``; :class:`UsageError` for others."""
    if isinstance(plane, Plane):
        return plane
    name = plane.strip().lower()
    if name in PLANES:
        return PLANES[name]
    if (own := _OWN.fullmatch(name)) and 0 < int(own[1]) < 65536:
        protocol: Protocol = "tcp" if own[2] == "tcp" else "udp"
        return _plane(name, f"port {name}", Ports(protocol, (int(own[1]),)))
    raise UsageError(
        f"there is no plane {plane!r}",
        hint=f"the planes are: {', '.join(PLANES)}, or a port as in 8080/tcp",
    )
