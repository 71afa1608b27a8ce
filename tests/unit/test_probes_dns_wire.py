"""DNS packets as the embedded resolver speaks them, and the kernel's table of IPVS."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from contextlib import suppress

import pytest
from dnslib import QTYPE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.probes.ipvs import Destination, destinations_in
from harness.probes.sampling.dns_wire import Answer, answer_in, question

LABELS = st.lists(
    st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=20),
    min_size=1,
    max_size=4,
)
ADDRESSES = st.ip_addresses(v=4)

#: Bytes of the record with which a question says how long an answer may be; no answer repeats it.
OPTIONS = 11


def reply(
    asked: bytes,
    addresses: Sequence[ipaddress.IPv4Address],
    *,
    code: int = 0,
    compressed: bool = True,
) -> bytes:
    """What a server answers: the question again, and a record for each address."""
    number = asked[:2]
    head = struct.pack("!HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
    name = b"\xc0\x0c" if compressed else asked[12 : -4 - OPTIONS]
    records = b"".join(
        name + struct.pack("!HHIH", 1, 1, 600, 4) + address.packed for address in addresses
    )
    return number + head + asked[12:-OPTIONS] + records


@given(LABELS, st.integers(0, 0xFFFF), st.lists(ADDRESSES, max_size=30), st.booleans())
def test_an_answer_is_read_as_it_was_meant(
    labels: Sequence[str], number: int, addresses: Sequence[ipaddress.IPv4Address], compressed: bool
) -> None:
    packet = reply(question(".".join(labels), number), addresses, compressed=compressed)
    assert answer_in(packet) == Answer(number, tuple(map(str, sorted(addresses))), "")


@given(LABELS, st.lists(ADDRESSES, min_size=1, max_size=4), st.data())
def test_a_packet_cut_short_is_refused(
    labels: Sequence[str], addresses: Sequence[ipaddress.IPv4Address], data: st.DataObject
) -> None:
    packet = reply(question(".".join(labels), 7), addresses)
    keep = data.draw(st.integers(0, len(packet) - 1))
    with pytest.raises(ValueError, match="cut short"):
        answer_in(packet[:keep])


@given(LABELS, st.integers(0, 0xFFFF))
def test_a_question_has_room_for_many_addresses(labels: Sequence[str], number: int) -> None:
    """Docker's resolver cuts an answer at 512 bytes unless the question says that it may not."""
    name = ".".join(labels)
    asked = DNSRecord.parse(question(name, number))
    assert (asked.header.id, str(asked.q.qname), asked.q.qtype) == (number, f"{name}.", QTYPE.A)
    [room] = asked.ar
    assert (room.rtype, room.edns_len) == (QTYPE.OPT, 4096)


@given(st.binary(max_size=80))
def test_noise_is_an_answer_or_refused(noise: bytes) -> None:
    with suppress(ValueError):
        assert all(ipaddress.IPv4Address(each) for each in answer_in(noise).addresses)


def test_the_code_has_its_name() -> None:
    asked = question("tasks.web", 3)
    assert answer_in(reply(asked, [], code=3)).error == "NXDOMAIN"
    assert answer_in(reply(asked, [], code=2)).error == "SERVFAIL"
    assert answer_in(reply(asked, [], code=11)).error == "RCODE11"


def test_a_question_is_no_answer() -> None:
    with pytest.raises(ValueError, match="question"):
        answer_in(question("web", 1))


def test_other_records_are_passed_over() -> None:
    asked = question("web", 1)
    other = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 600, 3) + b"txt"
    address = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 600, 4) + bytes([10, 0, 1, 2])
    packet = asked[:2] + struct.pack("!HHHHH", 0x8180, 1, 2, 0, 0)
    packet += asked[12:-OPTIONS] + other + address
    assert answer_in(packet).addresses == ("10.0.1.2",)


@pytest.mark.parametrize("name", ["a..b", "", "x" * 64])
def test_a_name_that_dns_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a DNS name"):
        question(name, 1)


TABLE = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
FWM  00000101 rr
  -> 0A000105:0000      Masq    1      2          3
  -> 0A000104:0000      Masq    0      0          0
TCP  0A00000A:1F90 rr
  -> 0A000199:0000      Masq    1      0          0
FWM  00000102 rr
"""


def test_ipvs_is_read_by_firewall_mark() -> None:
    assert destinations_in(TABLE) == [
        Destination(0x101, "10.0.1.5", 1, 2, 3),
        Destination(0x101, "10.0.1.4", 0, 0, 0),
    ]


@given(st.lists(st.tuples(st.integers(1, 999), st.lists(ADDRESSES, max_size=5)), max_size=5))
def test_every_destination_of_a_mark_is_found(services: list[tuple[int, list[int]]]) -> None:
    lines = ["IP Virtual Server", "Prot"]
    wanted = []
    for mark, addresses in services:
        lines.append(f"FWM  {mark:08X} rr")
        for address in addresses:
            lines.append(f"  -> {int(address):08X}:0000      Masq    1      0          0")
            wanted.append((mark, str(ipaddress.IPv4Address(int(address)))))
    assert [(each.mark, each.address) for each in destinations_in("\n".join(lines))] == wanted
