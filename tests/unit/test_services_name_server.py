"""The name server's answers: true ones, lies, and none."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import dnslib.dns
import pytest
from dnslib import QTYPE, RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from optionals import not_none

from harness.services.servers.name_server import NameServer, Zone


def asked(zone: Zone, name: str, kind: str = "A") -> dnslib.dns.DNSRecord:
    return DNSRecord.parse(zone.reply(DNSRecord.question(name, kind).pack()))


def test_a_name_of_its_table_has_its_address_whatever_its_case() -> None:
    answer = asked(Zone({"db.example.test": "10.1.2.3"}), "DB.Example.test")
    assert [str(record.rdata) for record in answer.rr] == ["10.1.2.3"]
    assert answer.header.rcode == RCODE.NOERROR


def test_another_name_is_not_known_and_another_kind_is_empty() -> None:
    zone = Zone({"db.example.test": "10.1.2.3"})
    assert asked(zone, "elsewhere.test").header.rcode == RCODE.NXDOMAIN
    empty = asked(zone, "db.example.test", "AAAA")
    assert (empty.header.rcode, empty.rr) == (RCODE.NOERROR, [])


@pytest.mark.parametrize("code", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_a_lie_may_be_an_error(code: str) -> None:
    zone = Zone({"db.example.test": "10.1.2.3"})
    zone.lie = code
    assert RCODE.get(asked(zone, "db.example.test").header.rcode) == code


def test_a_lie_may_be_an_address_for_every_name() -> None:
    zone = Zone({})
    zone.lie = "6.6.6.6"
    [record] = asked(zone, "anything.test").rr
    assert (record.rtype, str(record.rdata)) == (QTYPE.A, "6.6.6.6")


@given(st.binary(max_size=100))
def test_no_packet_whatever_upsets_it(packet: bytes) -> None:
    Zone({"a.test": "1.2.3.4"}).reply(packet)


def test_an_answer_is_not_answered() -> None:
    zone = Zone({"a.test": "1.2.3.4"})
    assert zone.reply(not_none(zone.reply(DNSRecord.question("a.test").pack()))) is None


@pytest.fixture
def running() -> Iterator[tuple[int, Callable[..., bytes]]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = NameServer(port, {"a.test": "1.2.3.4"}, host="127.0.0.1")
    orders, give = os.pipe()
    answers, tell = os.pipe()
    thread = threading.Thread(target=server.serve, args=(orders, lambda line: os.write(tell, line)))
    thread.start()

    def behave(words: str) -> bytes:
        os.write(give, b'{"do": "behave", ' + words.encode() + b"}\n")
        return os.read(answers, 4096)

    yield port, behave
    os.close(give)
    thread.join(timeout=5)
    for each in (orders, answers, tell):
        os.close(each)
    assert not thread.is_alive()


def ask_by_udp(port: int, timeout: float = 2.0) -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(timeout)
        asking.connect(("127.0.0.1", port))
        asking.send(DNSRecord.question("a.test").pack())
        return [str(record.rdata) for record in DNSRecord.parse(asking.recv(512)).rr]


def test_it_answers_by_udp_and_by_tcp(running: tuple[int, Callable[..., bytes]]) -> None:
    port, _ = running
    assert ask_by_udp(port) == ["1.2.3.4"]
    with socket.create_connection(("127.0.0.1", port), timeout=2) as asking:
        packet = DNSRecord.question("a.test").pack()
        asking.sendall(struct.pack("!H", len(packet)) + packet)
        data = asking.recv(512)
    assert struct.unpack("!H", data[:2])[0] == len(data) - 2
    assert [str(record.rdata) for record in DNSRecord.parse(data[2:]).rr] == ["1.2.3.4"]


def test_silence_slowness_and_refusal(running: tuple[int, Callable[..., bytes]]) -> None:
    port, behave = running
    behave('"mode": "silent"')
    with pytest.raises(TimeoutError):
        ask_by_udp(port, timeout=0.2)
    behave('"mode": "slow", "delay": 0.3')
    began = time.monotonic()
    assert ask_by_udp(port) == ["1.2.3.4"]
    assert time.monotonic() - began >= 0.3
    behave('"mode": "refuse"')
    with pytest.raises(ConnectionRefusedError):
        ask_by_udp(port)
    behave('"mode": "serve"')
    assert ask_by_udp(port) == ["1.2.3.4"]
    assert b"not a known mode" in behave('"mode": "sing"')
