"""The name server itself: a child process that answers for a zone, and misbehaves on command.

Started by :class:`harness.services.NameServer` with its settings as JSON in the first argument;
commands come as JSON lines on standard input and are answered by one line each on standard output;
the end of standard input ends it. Over UDP and TCP; A records only, as nothing here has others.
"""

from __future__ import annotations

import heapq
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from dnslib import QTYPE, RCODE, RR, A, DNSError, DNSRecord
from dnslib.label import DNSLabelError

from harness.services.servers.control_channel import ControlChannel

MODES = ("serve", "refuse", "silent", "slow", "lie")

#: What a lying server may say instead of an address.
CODES = {"NXDOMAIN": RCODE.NXDOMAIN, "SERVFAIL": RCODE.SERVFAIL, "REFUSED": RCODE.REFUSED}

_TTL = 5  # s
_PIECE = 65536

MOST_CONNECTIONS = 256
"""Beyond as many each new one is closed."""

MOST_WAITING = 10_000
"""Answers that a slow server holds back; questions beyond them get none."""

Send = Callable[[bytes], None]


class Zone:
    """Answers from a table of names, or lies on command."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = {name.rstrip(".").lower(): address for name, address in names.items()}
        self.lie: str | None = None

    def reply(self, packet: bytes) -> bytes | None:
        """Return the answer to a question; None for a packet that is not a question."""
        try:
            question = DNSRecord.parse(packet)
        except Exception:  # the network's bytes: each type of record fails in its own way
            return None
        if question.header.qr:
            return None
        answer = question.reply()
        name = str(question.q.qname).rstrip(".").lower()
        known = self.names.get(name)
        code = CODES.get(self.lie or "")
        if code is not None:
            answer.header.rcode = code
        elif known is None and self.lie is None:
            answer.header.rcode = RCODE.NXDOMAIN
        elif question.q.qtype == QTYPE.A:
            answer.add_answer(RR(question.q.qname, QTYPE.A, rdata=A(self.lie or known), ttl=_TTL))
        try:
            packed: bytes = answer.pack()
        except (DNSError, DNSLabelError):  # a name can be read that is too long to be written
            return None
        return packed


class NameServer:
    """Listens on one port of UDP and TCP."""

    def __init__(
        self,
        port: int,
        names: dict[str, str],
        *,
        host: str = "0.0.0.0",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = "serve"
        self.zone = Zone(names)
        self.asked = 0
        self.answered = 0
        self._address = (host, port)
        self._delay = 0.0
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._udp: socket.socket | None = None
        self._tcp: socket.socket | None = None
        self._streams: dict[socket.socket, bytes] = {}
        self._waiting: list[tuple[float, int, Send, bytes]] = []
        self._open()

    def behave(self, mode: str, *, delay: float = 0.0, answer: str | None = None) -> None:
        """Be a server that serves, refuses, is silent, slow by ``delay`` s, or lies."""
        if mode not in MODES:
            raise ValueError(f"{mode!r} is not a known mode")
        self.mode, self._delay = mode, delay
        self.zone.lie = answer if mode == "lie" else None
        if mode == "refuse":
            self._close()
        else:
            self._open()

    def state(self) -> dict[str, Any]:
        """Return what it does, and how often it was asked and has answered."""
        return {"mode": self.mode, "asked": self.asked, "answered": self.answered}

    def serve(self, control: int, tell: Callable[[bytes], None]) -> None:
        """Answer until the file descriptor ``control`` ends."""
        channel = ControlChannel(control, self._handle, tell)
        self._selector.register(control, selectors.EVENT_READ, "control")
        while True:
            for key, _ in self._selector.select(self._timeout()):
                if key.data == "control":
                    if not channel.take():
                        self._close()
                        return
                elif key.data == "udp":
                    self._datagram()
                elif key.data == "tcp":
                    self._accept()
                elif key.fileobj in self._streams:
                    self._stream(key.fileobj)
            self._send_due()

    def _handle(self, command: dict[str, Any]) -> dict[str, Any]:
        if command.pop("do") == "behave":
            self.behave(**command)
        return self.state()

    # -- sockets -------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._udp is None:
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.bind(self._address)
            self._udp.setblocking(False)
            self._selector.register(self._udp, selectors.EVENT_READ, "udp")
        if self._tcp is None:
            self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._tcp.bind(self._address)
            self._tcp.listen(32)
            self._selector.register(self._tcp, selectors.EVENT_READ, "tcp")

    def _close(self) -> None:
        for each in (self._udp, self._tcp, *self._streams):
            if each is not None:
                self._selector.unregister(each)
                each.close()
        self._udp = self._tcp = None
        self._streams.clear()

    def _datagram(self) -> None:
        assert self._udp is not None
        try:
            packet, sender = self._udp.recvfrom(_PIECE)
        except OSError:  # a checksum that is wrong, or a message about one that went astray
            return
        self._take(packet, lambda answer: self._send_udp(answer, sender))

    def _send_udp(self, answer: bytes, to: Any) -> None:
        if self._udp is not None:
            self._udp.sendto(answer, to)

    def _accept(self) -> None:
        assert self._tcp is not None
        try:
            made, _ = self._tcp.accept()
        except OSError:  # it was gone before it was taken
            return
        if len(self._streams) >= MOST_CONNECTIONS:
            made.close()
            return
        made.setblocking(False)
        self._streams[made] = b""
        self._selector.register(made, selectors.EVENT_READ, "stream")

    def _stream(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_PIECE)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            del self._streams[connection]
            connection.close()
            return
        rest = self._streams[connection] + data
        while len(rest) >= 2 and len(rest) >= 2 + (length := struct.unpack("!H", rest[:2])[0]):
            packet, rest = rest[2 : 2 + length], rest[2 + length :]
            self._take(packet, lambda answer: self._send_tcp(connection, answer))
        self._streams[connection] = rest

    def _send_tcp(self, connection: socket.socket, answer: bytes) -> None:
        if connection in self._streams:
            connection.send(struct.pack("!H", len(answer)) + answer)

    def _take(self, packet: bytes, send: Send) -> None:
        self.asked += 1
        answer = self.zone.reply(packet)
        if answer is None or self.mode == "silent" or len(self._waiting) >= MOST_WAITING:
            return
        due = self._clock() + (self._delay if self.mode == "slow" else 0.0)
        heapq.heappush(self._waiting, (due, self.asked, send, answer))

    def _timeout(self) -> float | None:
        return max(0.0, self._waiting[0][0] - self._clock()) if self._waiting else None

    def _send_due(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._clock():
            _, _, send, answer = heapq.heappop(self._waiting)
            try:
                send(answer)
            except OSError:
                continue  # who asked is gone
            self.answered += 1


def main() -> int:
    """Serve by the settings in the first argument."""
    settings = json.loads(sys.argv[1])

    def tell(line: bytes) -> None:
        os.write(1, line)

    try:
        server = NameServer(settings["port"], settings["names"])
    except OSError as error:
        tell(json.dumps({"error": str(error)}).encode() + b"\n")
        return 1
    tell(json.dumps(server.state()).encode() + b"\n")
    server.serve(0, tell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
