"""DNS packets as the embedded resolver speaks them: questions for A records, and its answers.

Four dozen lines instead of a resolver: a probe asks hundreds of times a second, and nothing may
be cached, retried or looked up in a hosts file on the way.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from harness.errors import UsageError

#: Where Docker's embedded resolver answers inside a container.
SERVER = ("127.0.0.11", 53)

_A = 1
_IN = 1
_RESPONSE = 0x8000
_RECURSION_DESIRED = 0x0100
_POINTER = 0xC0

RCODES = {0: "", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True)
class Answer:
    """What a resolver said: ``error`` is "" or the name of its code."""

    number: int
    addresses: tuple[str, ...]
    error: str


def question(name: str, number: int) -> bytes:
    """The packet that asks for A records of ``name``; ``number`` (16 bits) comes back in it."""
    packet = struct.pack("!HHHHHH", number, _RECURSION_DESIRED, 1, 0, 0, 0)
    for label in name.rstrip(".").split("."):
        data = label.encode("ascii", errors="replace")
        if not 0 < len(data) < 64:
            raise UsageError(f"{name!r} is no name that DNS can carry")
        packet += bytes([len(data)]) + data
    return packet + b"\0" + struct.pack("!HH", _A, _IN)


def answer_in(packet: bytes) -> Answer:
    """Read an answer; addresses are sorted. ``ValueError`` for a packet that is none."""
    try:
        number, flags, questions, answers, _, _ = struct.unpack_from("!HHHHHH", packet)
        if not flags & _RESPONSE:
            raise ValueError("the packet is a question")
        at = 12
        for _ in range(questions):
            at = _behind_name(packet, at) + 4
        addresses = []
        for _ in range(answers):
            at = _behind_name(packet, at)
            kind, family, _, length = struct.unpack_from("!HHIH", packet, at)
            at += 10
            if (kind, family, length) == (_A, _IN, 4):
                addresses.append(ipaddress.IPv4Address(packet[at : at + 4]))
            at += length
            if at > len(packet):
                raise ValueError("the packet is cut short")
    except (struct.error, IndexError, ipaddress.AddressValueError):
        raise ValueError("the packet is cut short") from None
    code = flags & 0xF
    return Answer(number, tuple(map(str, sorted(addresses))), RCODES.get(code, f"RCODE{code}"))


def _behind_name(packet: bytes, at: int) -> int:
    while packet[at]:
        if packet[at] & _POINTER:
            return at + 2
        at += 1 + packet[at]
    return at + 1
