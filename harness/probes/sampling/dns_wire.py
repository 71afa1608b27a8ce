"""DNS packets as the embedded resolver speaks them: questions for A records, and its answers.

Not a resolver library, because nothing may be cached, retried or looked up in a hosts file on the
way. Not dnslib either: a probe asks ten times a second for every name at every vantage point, in a
guest whose processor is emulated. On a server's core, with 8 addresses in the answer, encoding a
question and decoding its answer takes 42 + 242 us with dnslib, and 1 + 14 us here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from socket import inet_ntoa

from harness.errors import UsageError

#: Bytes of an answer by UDP that a question has room for (EDNS, RFC 6891). Without it the engine
#: keeps to 512 (libnetwork resolver.go): 26.1.5 compresses an answer of 20 addresses to 347 bytes,
#: 16 for each, so that more than 30 do not fit.
_ROOM = 4096

_OPTIONS = struct.pack("!BHHIH", 0, 41, _ROOM, 0, 0)

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
    """What a resolver answered: ``error`` is "" or the name of its response code."""

    number: int
    addresses: tuple[str, ...]
    error: str


def question(name: str, number: int) -> bytes:
    """Return the packet that asks for A records of ``name``; the answer repeats ``number``.

    ``number`` has 16 bits. Raise :class:`UsageError` for a name with an empty or too long label.
    """
    packet = struct.pack("!HHHHHH", number, _RECURSION_DESIRED, 1, 0, 0, 1)
    for label in name.rstrip(".").split("."):
        data = label.encode("ascii", errors="replace")
        if not 0 < len(data) < 64:
            raise UsageError(f"{name!r} is not a DNS name: its labels have 1 to 63 characters")
        packet += bytes([len(data)]) + data
    return packet + b"\0" + struct.pack("!HH", _A, _IN) + _OPTIONS


def answer_in(packet: bytes) -> Answer:
    """Read an answer; addresses are sorted. Raise ``ValueError`` for a packet that is not one."""
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
                addresses.append(packet[at : at + 4])
            at += length
            if at > len(packet):
                raise ValueError("the packet is cut short")
    except (struct.error, IndexError):
        raise ValueError("the packet is cut short") from None
    code = flags & 0xF
    given = tuple(map(inet_ntoa, sorted(addresses)))
    return Answer(number, given, RCODES.get(code, f"RCODE{code}"))


def _behind_name(packet: bytes, at: int) -> int:
    while packet[at]:
        if packet[at] & _POINTER:
            return at + 2
        at += 1 + packet[at]
    return at + 1
