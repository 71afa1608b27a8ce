"""Probe packets: they show that a rule or a qdisc is in the path, and reach no program.

They are complete IP packets of the plane in question, with a transport checksum that is wrong: the
fabric counts, drops or delays them like any other, and a receiver's kernel throws them away before
they reach raft, gossip or VXLAN.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from harness.errors import LabError
from harness.faults.links import Links, Place
from harness.faults.planes import Plane, Ports

if TYPE_CHECKING:
    from harness.lab import Node

_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_TCP_HEADER = struct.Struct("!HHIIBBHHH")
_UDP_HEADER = struct.Struct("!HHHH")
_SYN = 2

#: The port of the discard service, for a plane that is not identified by ports.
_DISCARD = Ports("udp", (9,))

#: A wrong checksum, whatever the packet: 0 would mean "none" to UDP.
_WRONG = 1


@dataclass(frozen=True)
class Probe:
    """A source that can send one, and its destination."""

    source: Place
    destination: Place


def probes_for(links: Links) -> list[Probe]:
    """Return one for each source that is up and has a link to a destination that is up.

    To a destination that is off, ARP would get no answer.
    """
    destinations: dict[str, list[str]] = {}
    for name, other in sorted(links.pairs()):
        destinations.setdefault(name, []).append(other)
    found = []
    for name, others in destinations.items():
        up = [place for place in map(links.place, others) if is_up(place)]
        if up and is_up(source := links.place(name)):
            found.append(Probe(source, up[0]))
    return found


def send(probes: Iterable[Probe], plane: Plane, *, times: int = 1, size: int = 0) -> int:
    """Send each probe ``times``, as IP packets of ``size`` bytes or as small as can be.

    Returns how many left. A place that goes down meanwhile sends none.
    """
    ports = plane.ports[0] if plane.ports else _DISCARD
    sent = 0
    for probe in probes:
        packet = build(probe.source.address, probe.destination.address, ports, size)
        try:
            sent += _emit_from(probe.source, packet, probe.destination.address, times)
        except (LabError, OSError):
            continue
    return sent


def build(source: str, destination: str, ports: Ports, size: int = 0) -> bytes:
    """Return an IPv4 packet of a plane between two addresses, its transport checksum wrong."""
    port = ports.numbers[0]
    header = _TCP_HEADER.size if ports.protocol == "tcp" else _UDP_HEADER.size
    padding = bytes(max(0, size - _IP_HEADER.size - header))
    if ports.protocol == "tcp":
        number = socket.IPPROTO_TCP
        body = _TCP_HEADER.pack(port, port, 1, 0, 5 << 4, _SYN, 1024, _WRONG, 0) + padding
    else:
        number = socket.IPPROTO_UDP
        body = _UDP_HEADER.pack(port, port, header + len(padding), _WRONG) + padding
    # The kernel fills in the identification and the header's own checksum.
    ip = _IP_HEADER.pack(
        *(0x45, 0, _IP_HEADER.size + len(body), 0, 0, 64, number, 0),
        *(socket.inet_aton(source), socket.inet_aton(destination)),
    )
    return ip + body


#: The same where this process has no socket: what :func:`_emit` does, by a machine's python3.
_EMIT_THERE = """
import socket, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
sent = 0
for _ in range(int(sys.argv[3])):
    try:
        sent += raw.sendto(bytes.fromhex(sys.argv[1]), (sys.argv[2], 0)) > 0
    except OSError:
        break
print(sent)
"""


def _emit_from(source: Place, packet: bytes, to: str, times: int) -> int:
    try:
        here = source.here
    except LabError:  # a node on another machine: client hosts are always here
        argv = ["python3", "-I", "-S", "-c", _EMIT_THERE, packet.hex(), to, str(times)]
        return int(cast("Node", source).network_tool(argv).text)
    return here.network.call(partial(_emit, packet, to, times))


def _emit(packet: bytes, to: str, times: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        sent = 0
        for _ in range(times):
            try:
                sent += raw.sendto(packet, (to, 0)) > 0
            except OSError:  # ARP gets no answer any more: that frame never reached the fabric
                break
        return sent


def is_up(place: Place) -> bool:
    """Return whether a place is switched on; a client host always is."""
    return place.up
