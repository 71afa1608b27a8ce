"""What the network may bring to the services' programs: anything, for a budget of seconds.

``SWARM_CHAOS_FUZZ_SECONDS`` is the budget of each fuzzer. A failure names the seed;
``SWARM_CHAOS_FUZZ_SEED`` runs it again.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import random
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RD, RR, DNSRecord

from harness.services.servers import name_server
from harness.services.servers.gelf import (
    CHUNK_MAGIC,
    LARGEST_MESSAGE,
    MOST_LINES,
    MOST_OPEN,
    Frames,
    GelfError,
    Reassembly,
    decompressed,
    line_in,
)
from harness.services.servers.gelf_sink import MOST_ERRORS, MOST_TASKS, Sink
from harness.services.servers.name_server import NameServer, Zone
from harness.services.servers.registry_proxy import _Handler

BUDGET = float(os.environ.get("SWARM_CHAOS_FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("SWARM_CHAOS_FUZZ_SEED", "0")) or random.SystemRandom().getrandbits(32)

#: MiB that a fuzzer may add to the process, whatever it is fed: the accounts of MOST_TASKS tasks,
#: what waits for its chunks, and as much again for the allocator.
MOST_MIB = 400


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


@pytest.fixture
def chance() -> Iterator[random.Random]:
    """Dice whose seed is shown when a test fails; memory is bounded over the test."""
    before = resident_mib()
    print(f"SWARM_CHAOS_FUZZ_SEED={SEED}")
    yield random.Random(SEED)
    assert resident_mib() - before < MOST_MIB


def for_the_budget() -> Iterator[int]:
    ends = time.monotonic() + BUDGET
    for number in itertools.count():
        if time.monotonic() > ends:
            return
        yield number


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """Return ``seed`` cut, doubled, flipped or with noise in it."""
    data = bytearray(seed)
    for _ in range(chance.choice((0, 1, 1, 2, 5, 20))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                del data[at : at + chance.randrange(1, 40)]
            case 1:
                data[at:at] = chance.randbytes(chance.randrange(40))
            case 2 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 3:
                data[at:at] = data[: chance.randrange(200)]
            case 4:
                data[at:at] = b"1" + b"0" * chance.randrange(0, 6000, 97)
            case 5:
                del data[at:]
    return bytes(data)


def gelf_line(chance: random.Random) -> bytes:
    number = chance.choice((0, 1, 7, MOST_LINES - 1, MOST_LINES, 10**15))
    digits = chance.choice((str(number), "9" * chance.randrange(1, 5000)))
    task = f"app.{chance.randrange(10_000)}"
    return f'{{"short_message":"seq={digits} t=1.0 task={task} xx"}}'.encode()


def gelf_datagram(chance: random.Random) -> bytes:
    line = gelf_line(chance)
    line = chance.choice((lambda text: text, gzip.compress, zlib.compress))(line)
    if chance.random() < 0.3:
        header = chance.randbytes(8) + bytes([chance.randrange(130), chance.randrange(130)])
        line = CHUNK_MAGIC + header + line
    return mutated(line, chance)


class Feeding:
    """A sink without a network: datagrams and connections are what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Sink, "_open", lambda _: None)
        monkeypatch.setattr(Sink, "_watch", lambda _: None)
        self.rows: list[dict[str, Any]] = []
        self.sink = Sink(0, self.rows.append)

    def datagram(self, data: bytes) -> None:
        ours: Any = FakeSocket([data])
        self.sink._udp = ours
        self.sink._datagrams()
        self.sink._tick()

    def stream(self, pieces: list[bytes]) -> None:
        ours: Any = FakeSocket(pieces)
        self.sink._connections[ours] = Frames()
        while ours in self.sink._connections:
            self.sink._read(ours)


class FakeSocket:
    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def recv(self, _size: int) -> bytes:
        if not self.pieces:
            return b""
        return self.pieces.pop(0)

    def fileno(self) -> int:
        return 10**6

    def close(self) -> None:
        pass


@pytest.fixture
def feeding(monkeypatch: pytest.MonkeyPatch) -> Feeding:
    made = Feeding(monkeypatch)
    monkeypatch.setattr(FakeSocket, "recv", _recv_or_block)
    return made


def _recv_or_block(self: FakeSocket, _size: int) -> bytes:
    if not self.pieces:
        raise ConnectionResetError
    return self.pieces.pop(0)


def test_a_sink_takes_any_datagram(chance: random.Random, feeding: Feeding) -> None:
    for _ in for_the_budget():
        feeding.datagram(gelf_datagram(chance))
    assert len(feeding.sink.by_task) <= MOST_TASKS
    assert len(feeding.sink.errors) <= MOST_ERRORS + 1


def test_a_sink_takes_any_stream(chance: random.Random, feeding: Feeding) -> None:
    for _ in for_the_budget():
        lines = b"\0".join(gelf_line(chance) for _ in range(chance.randrange(4)))
        data = mutated(lines + b"\0", chance)
        cut = chance.randrange(len(data) + 1)
        feeding.stream([piece for piece in (data[:cut], data[cut:]) if piece])
    assert len(feeding.sink.by_task) <= MOST_TASKS


def test_a_bomb_in_chunks_is_given_up_in_little_time_and_memory(
    chance: random.Random, feeding: Feeding
) -> None:
    bomb = gzip.compress(bytes(256 << 20), 9)
    parts = [bomb[at : at + 60_000] for at in range(0, len(bomb), 60_000)]
    began = time.process_time()
    for number, part in enumerate(parts):
        header = CHUNK_MAGIC + b"bombbomb" + bytes([number, len(parts)])
        feeding.datagram(header + part)
    assert time.process_time() - began < 1
    [(error, count)] = feeding.sink.errors.items()
    assert ("too long" in error, count) == (True, 1)


def test_chunks_that_wait_for_ever_are_bounded(chance: random.Random) -> None:
    chunks = Reassembly()
    for _ in range(2000):
        chunks.add(CHUNK_MAGIC + chance.randbytes(8) + bytes([0, 2]) + bytes(60_000), 1.0)
        assert chunks._held <= MOST_OPEN
    assert chunks.incomplete > 1500


@pytest.mark.parametrize("digits", ["9" * 5000, str(10**15), str(MOST_LINES)])
def test_a_line_number_that_no_logwriter_gets_to_is_an_error(digits: str) -> None:
    with pytest.raises(GelfError):
        line_in(f'{{"short_message":"seq={digits} t=1.0 task=x "}}'.encode())


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_message_of_the_largest_size_is_whole(pack: Callable[[bytes], bytes]) -> None:
    text = b"{" + b"x" * (LARGEST_MESSAGE - 2)
    assert decompressed(pack(text)) == text
    with pytest.raises(GelfError, match="too long"):
        decompressed(pack(text + b"xx"))


def test_a_name_server_ignores_a_tag_that_is_no_text() -> None:
    question = DNSRecord.question("registry.example")
    bad = RR("registry.example", QTYPE.CAA, rdata=RD(b"\x00\x01\x9c"))
    question.add_ar(bad)
    assert Zone({"registry.example": "10.0.0.1"}).reply(bytes(question.pack())) is None


def test_a_name_server_answers_or_ignores_any_question(chance: random.Random) -> None:
    zone = Zone({"registry.example": "10.0.0.1"})
    seed = bytes(DNSRecord.question("registry.example").pack())
    for _ in for_the_budget():
        zone.lie = chance.choice((None, "SERVFAIL", "10.9.9.9"))
        answer = zone.reply(mutated(seed, chance))
        assert answer is None or len(answer) >= 12


def test_a_name_server_takes_any_stream(
    chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NameServer, "_open", lambda _: None)
    monkeypatch.setattr(name_server, "MOST_WAITING", 50)
    server = NameServer(0, {"a.example": "10.0.0.1"})
    server.behave("slow", delay=1e6)
    seed = bytes(DNSRecord.question("a.example").pack())
    for _ in for_the_budget():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            server._streams[theirs] = b""
            server._selector.register(theirs, 1, "stream")
            ours.sendall(mutated(struct.pack("!H", len(seed)) + seed, chance) or b"x")
            server._stream(theirs)
            if theirs in server._streams:
                ours.close()
                server._stream(theirs)
            assert theirs not in server._streams
    assert len(server._waiting) <= 50


class Request(_Handler):
    """A request's head and body, without the connection they came by."""

    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        self.headers = Message()
        for name, value in headers.items():
            self.headers[name] = value
        self.rfile = io.BytesIO(body)


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 5000, "1_0", "٣", "300000000", "x"])
def test_a_body_without_a_sane_length_is_refused(length: str) -> None:
    with pytest.raises(ValueError):
        Request({"Content-Length": length}, b"x" * 100)._body()


def test_a_registry_front_reads_any_body_to_its_end_or_refuses(chance: random.Random) -> None:
    for _ in for_the_budget():
        chunk = b"%x\r\nhello\r\n" % chance.choice((5, 5, 0, 2**40))
        body = mutated(chunk * chance.randrange(4) + b"0\r\n\r\n", chance)
        heads = ({"Transfer-Encoding": "chunked"}, {"Content-Length": str(len(body))})
        try:
            taken = Request(chance.choice(heads), body)._body()
        except ValueError:
            continue
        assert len(taken) <= len(body)
