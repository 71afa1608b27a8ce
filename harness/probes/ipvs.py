"""IPVS as a namespace's kernel has it: where swarm's virtual addresses lead."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from harness.lab import Node

#: The kernel's table in the calling thread's network namespace; without ip_vs there is none.
TABLE = Path("/proc/thread-self/net/ip_vs")


@dataclass(frozen=True)
class Destination:
    """A real server of the service with firewall mark ``mark``. Weight 0: it gets nothing new."""

    mark: int
    address: str
    weight: int
    active: int
    inactive: int


def load_balancer(node: Node, network: str) -> Path:
    """Return the namespace of a network (id) whose IPVS balances on a node, from 18.09 on."""
    return Path(f"/proc/{node.here.pid}/root/run/docker/netns/lb_{network[:9]}")


def destinations_in(table: str) -> list[Destination]:
    """Return the real servers in the text of ``/proc/net/ip_vs``, of services by firewall mark."""
    found = []
    mark: int | None = None
    for line in table.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] in ("TCP", "UDP", "SCTP", "FWM"):
            mark = int(words[1], 16) if words[0] == "FWM" else None
        elif words[0] == "->" and mark is not None and len(words) >= 6:
            address, _, _ = words[1].partition(":")
            found.append(
                Destination(
                    mark,
                    str(ipaddress.IPv4Address(int(address, 16))),
                    int(words[3]),
                    int(words[4]),
                    int(words[5]),
                )
            )
    return found


def forget_services(node: Node, network: str) -> None:
    """Clear a node's balancer in a network (id): its virtual addresses lead nowhere any more.

    dockerd fills it again for a service when a task of it comes or goes.
    """
    enter = ("nsenter", f"--net=/run/docker/netns/{load_balancer(node, network).name}")
    node.run([*enter, "ipvsadm", "--clear"])
