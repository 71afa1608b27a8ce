"""The GELF sink itself: a child process that receives, counts, and misbehaves on command.

Started by :class:`harness.services.GelfSink` with its settings as JSON in the first
argument; commands come as JSON lines on standard input and are answered by one line each on
standard output; the end of standard input ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.services.servers.control_channel import ControlChannel
from harness.services.servers.gelf import Frames, GelfError, Reassembly, decompressed, line_in
from harness.services.servers.line_account import LineAccounts

MODES = ("serve", "refuse", "stall", "slow", "reset")

_DATAGRAM = 65536
_PIECE = 65536
_UDP_BUFFER = 4 << 20  # bytes: a burst is the network's to lose, not this program's
_TCP_BUFFER = 128 << 10
"""Bytes the kernel takes in for a sink that does not read. Left to grow it takes megabytes, and
it is a dozen seconds before the sender notices anything."""
_PAUSE = 0.1  # s between two helpings in slow mode
_RST = struct.pack("ii", 1, 0)

MOST_CONNECTIONS = 512
"""Beyond as many each new one is closed: Docker opens one per container."""

MOST_TASKS = 200
"""Lines of further tasks are errors; accounts of as many are 250 MB at most."""

MOST_ERRORS = 50
"""Kinds of errors that are told apart; the rest is "others"."""


@dataclass
class _Second:
    """What came within one second, for the samples."""

    lines: int = 0
    bytes: int = 0
    oldest: float = 0.0
    tasks: dict[str, int] = field(default_factory=dict)


class Sink:
    """Listens on one port of TCP and UDP. ``write_row`` gets a row per second with traffic."""

    def __init__(
        self,
        port: int,
        write_row: Callable[[dict[str, Any]], None],
        *,
        host: str = "0.0.0.0",
        origin: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = "serve"
        self.by_task: dict[str, LineAccounts] = {}
        self.foreign = 0
        """Messages without a numbered line."""
        self.errors: dict[str, int] = {}
        self.accepted = 0
        self.received = 0
        """Bytes read, of all senders."""
        self._address = (host, port)
        self._write_row = write_row
        self._origin = origin
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._tcp: socket.socket | None = None
        self._udp: socket.socket | None = None
        self._connections: dict[socket.socket, Frames] = {}
        self._chunks = Reassembly()
        self._rate = 0.0
        self._helping = 0.0  # bytes that may be read now, in slow mode
        self._refilled = clock()
        self._second = _Second()
        self._second_began = clock()
        self._open()

    # -- commands -------------------------------------------------------------------------------

    def behave(self, mode: str, rate: float = 0.0) -> None:
        """Be a sink that serves, refuses, stalls, reads ``rate`` bytes a second, or resets."""
        if mode not in MODES:
            raise ValueError(f"{mode!r} is not a known mode")
        self._flush()
        self.mode, self._rate = mode, rate
        self._helping, self._refilled = 0.0, self._clock()
        if mode == "refuse":
            self._close_all(reset=False)
            return
        if mode == "reset":
            self._drop_connections(reset=True)
        self._open()
        self._watch()

    def state(self) -> dict[str, Any]:
        """Return what it does and has."""
        return {
            "mode": self.mode,
            "connections": len(self._connections),
            "accepted": self.accepted,
            "received": self.received,
            "arrived": sum(lines.arrived for lines in self.by_task.values()),
            "foreign": self.foreign,
            "errors": self.errors,
            "incomplete": self._chunks.incomplete,
        }

    def accounts(self, sent: dict[str, int]) -> dict[str, Any]:
        """Return what became of each task's lines below the number given for it."""
        return {
            task: asdict(self.by_task.get(task, LineAccounts()).account(number))
            for task, number in sent.items()
        }

    # -- its loop ------------------------------------------------------------------------------

    def serve(self, control: int, answer: Callable[[bytes], None]) -> None:
        """Receive until the file descriptor ``control`` ends."""
        channel = ControlChannel(control, self._handle, answer)
        self._selector.register(control, selectors.EVENT_READ, "control")
        while True:
            for key, _ in self._selector.select(self._timeout()):
                if key.data == "control":
                    if not channel.take():
                        self._flush()
                        self._close_all(reset=False)
                        return
                elif key.data == "tcp":
                    self._accept()
                elif key.data == "udp":
                    self._datagrams()
                elif key.fileobj in self._connections:
                    self._read(key.fileobj)
            self._tick()

    def _timeout(self) -> float | None:
        if self.mode == "slow":
            return _PAUSE
        if self._second.lines:
            return max(0.0, self._second_began + 1.0 - self._clock())
        return None

    def _tick(self) -> None:
        now = self._clock()
        if now - self._second_began >= 1.0:
            self._flush()
        if self.mode == "slow" and now - self._refilled >= _PAUSE:
            # At most one second's worth is saved up.
            self._helping = min(
                self._helping + (now - self._refilled) * self._rate, max(self._rate, 1.0)
            )
            self._refilled = now
            self._watch()

    def _handle(self, command: dict[str, Any]) -> dict[str, Any]:
        match command["do"]:
            case "behave":
                self.behave(command["mode"], float(command.get("rate", 0.0)))
                return self.state()
            case "state":
                return self.state()
            case "accounts":
                return self.accounts(command["sent"])
            case "tasks":
                return {task: lines.arrived for task, lines in self.by_task.items()}
            case other:
                raise ValueError(f"not a known command: {other}")

    # -- sockets -------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._tcp is None:
            self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TCP_BUFFER)
            self._tcp.bind(self._address)
            self._tcp.listen(128)
            self._tcp.setblocking(False)
            self._selector.register(self._tcp, selectors.EVENT_READ, "tcp")
        if self._udp is None:
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER)
            self._udp.bind(self._address)
            self._udp.setblocking(False)
        self._watch()

    def _watch(self) -> None:
        """Read from those sockets that the mode reads from, and from no other."""
        reads = self.mode == "serve" or (self.mode == "slow" and self._helping >= 1)
        readers = [*self._connections, *([self._udp] if self._udp else [])]
        for each in readers:
            watched = each in self._selector.get_map()
            if reads and not watched:
                what = "udp" if each is self._udp else "connection"
                self._selector.register(each, selectors.EVENT_READ, what)
            elif watched and not reads:
                self._selector.unregister(each)

    def _accept(self) -> None:
        assert self._tcp is not None
        try:
            made, _ = self._tcp.accept()
        except OSError:  # it was gone before it was taken
            return
        self.accepted += 1
        if len(self._connections) >= MOST_CONNECTIONS:
            self._wrong(f"more than {MOST_CONNECTIONS} connections")
            made.close()
            return
        made.setblocking(False)
        self._connections[made] = Frames()
        if self.mode == "reset":
            self._drop(made, reset=True)
        else:
            self._watch()

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(self._most())
        except BlockingIOError:
            return
        except OSError as error:
            self._wrong(error)
            self._drop(connection)
            return
        if not data:
            if self._connections[connection].cut_off:
                self._wrong("a message was cut off")
            self._drop(connection)
            return
        self._taken(len(data))
        try:
            for message in self._connections[connection].feed(data):
                self._count(message)
        except GelfError as error:
            self._wrong(error)
            self._drop(connection)

    def _datagrams(self) -> None:
        assert self._udp is not None
        for _ in range(256):
            try:
                data = self._udp.recv(_DATAGRAM)
            except OSError:
                return
            self._taken(len(data))
            try:
                message = self._chunks.add(data, self._clock())
                if message is not None:
                    self._count(decompressed(message))
            except GelfError as error:
                self._wrong(error)
            if self.mode != "serve":
                return

    def _most(self) -> int:
        return _PIECE if self.mode == "serve" else max(1, min(_PIECE, int(self._helping)))

    def _taken(self, length: int) -> None:
        self._second.bytes += length
        self.received += length
        if self.mode == "slow":
            self._helping -= length
            self._watch()

    def _drop(self, connection: socket.socket, *, reset: bool = False) -> None:
        del self._connections[connection]
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        connection.close()

    def _drop_connections(self, *, reset: bool) -> None:
        for each in list(self._connections):
            self._drop(each, reset=reset)

    def _close_all(self, *, reset: bool) -> None:
        self._drop_connections(reset=reset)
        for each in (self._tcp, self._udp):
            if each is not None:
                if each in self._selector.get_map():
                    self._selector.unregister(each)
                each.close()
        self._tcp = self._udp = None

    # -- counting ------------------------------------------------------------------------------

    def _count(self, message: bytes) -> None:
        try:
            line = line_in(message)
        except GelfError as error:
            self._wrong(error)
            return
        if line is None:
            self.foreign += 1
            return
        lines = self.by_task.get(line.task)
        if lines is None:
            if len(self.by_task) >= MOST_TASKS:
                self._wrong(f"lines of more than {MOST_TASKS} tasks")
                return
            lines = self.by_task[line.task] = LineAccounts()
        lines.add(line.number)
        second = self._second
        if not second.lines:
            self._second_began = self._clock()
        second.lines += 1
        second.tasks[line.task] = second.tasks.get(line.task, 0) + 1
        second.oldest = max(second.oldest, self._clock() - line.written)

    def _wrong(self, what: object) -> None:
        words = str(what)[:80]
        if words not in self.errors and len(self.errors) >= MOST_ERRORS:
            words = "others"
        self.errors[words] = self.errors.get(words, 0) + 1

    def _flush(self) -> None:
        second, self._second = self._second, _Second()
        if second.lines:
            self._write_row(
                {
                    "t": round(self._second_began - self._origin, 6),
                    "took": round(self._clock() - self._second_began, 6),
                    "mode": self.mode,
                    "lines": second.lines,
                    "bytes": second.bytes,
                    "oldest": round(second.oldest, 6),
                    "tasks": second.tasks,
                }
            )
        self._second_began = self._clock()


def main() -> int:
    """Serve by the settings in the first argument."""
    settings = json.loads(sys.argv[1])
    with contextlib.ExitStack() as stack:
        samples = stack.enter_context(Path(settings["samples"]).open("ab", buffering=0))

        def write_row(row: dict[str, Any]) -> None:
            samples.write(json.dumps(row).encode() + b"\n")

        def answer(line: bytes) -> None:
            os.write(1, line)

        try:
            sink = Sink(settings["port"], write_row, origin=settings["origin"])
        except OSError as error:
            answer(json.dumps({"error": str(error)}).encode() + b"\n")
            return 1
        answer(json.dumps(sink.state()).encode() + b"\n")
        sink.serve(0, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
