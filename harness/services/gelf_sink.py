"""A GELF sink: receives what Docker's gelf driver sends, and counts which lines arrived."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from harness.errors import LabError, UsageError
from harness.lab import Lab
from harness.services.base import ExternalService
from harness.services.servers.line_account import Account
from harness.wait import NotYet, time_until

Protocol = Literal["tcp", "udp"]


class GelfSink(ExternalService):
    """A sink for TCP and UDP, chunks and compression included, on port 12201.

    Its program counts the logwriter's lines by task and number. ``samples`` gets a row for each
    second with traffic: ``t`` and ``took`` (s), ``mode``, ``lines``, ``bytes``, ``oldest`` (s from
    a line's writing to its arrival, the longest of the second) and ``tasks`` (lines by task).
    """

    kind: ClassVar = "GELF sink"
    port: ClassVar = 12201
    program: ClassVar = "harness.services.servers.gelf_sink"

    def __init__(self, lab: Lab, name: str, *, samples: Path, log: Path, origin: float) -> None:
        settings = {"port": self.port, "samples": str(samples.absolute()), "origin": origin}
        super().__init__(lab, name, settings, log)

    def options(
        self,
        protocol: Protocol = "tcp",
        more: Mapping[str, str] | None = None,
        *,
        host: str | None = None,
    ) -> dict[str, str]:
        """Return options of the log driver ``gelf`` that lead here; ``more`` are added as they are.

        ``host`` is another way to name it: its ``hostname``, say.
        """
        if protocol not in ("tcp", "udp"):
            raise UsageError(f"{protocol!r} is not a protocol for GELF: give tcp or udp")
        return {
            "gelf-address": f"{protocol}://{host or self.address}:{self.port}",
            **(more or {}),
        }

    def arrived(self) -> dict[str, int]:
        """Return how many numbered lines have arrived, by task, duplicates included."""
        return self._server.command("tasks")

    def accounts(self, sent: Mapping[str, int]) -> dict[str, Account]:
        """Return what became of each task's lines, given how many it had sent: to the line."""
        answer = self._server.command("accounts", sent=dict(sent))
        return {
            task: Account(**{**account, "gaps": tuple(map(tuple, account["gaps"]))})
            for task, account in answer.items()
        }

    def receives(self, seconds: float) -> float:
        """Return the bytes/s that it reads of all its senders, measured over ``seconds``."""
        before, began = self.state()["received"], time.monotonic()
        time.sleep(seconds)
        return float((self.state()["received"] - before) / (time.monotonic() - began))

    def taken_in(self, seconds: float) -> float:
        """Return the bytes/s that it takes from one sender at full speed, once buffers are full.

        Measured over the second half of ``seconds``, at the sender's end, which is elsewhere.
        :class:`~harness.errors.LabError` for a sink that takes no connection. What is sent is
        empty messages, which a sink ignores.
        """
        where = (self.address, self.port)
        try:
            return self.from_elsewhere(lambda: _taken_in(where, seconds))
        except OSError as error:
            raise LabError(f"{self.name} does not accept a connection: {error}") from error

    def stuck_after(self, quiet: float, within: float) -> int | None:
        """Return how many bytes it takes from one sender until not one more in ``quiet`` seconds.

        None if it goes on taking for ``within`` seconds. The rest as in :meth:`taken_in`.
        """
        where = (self.address, self.port)
        try:
            return self.from_elsewhere(lambda: _stuck_after(where, quiet, within))
        except OSError as error:
            raise LabError(f"{self.name} does not accept a connection: {error}") from error

    def counts_a_message(self, within: float = 5.0) -> bool:
        """Return whether a message from elsewhere is counted by the sink within ``within`` s."""
        before = self.state()["foreign"]
        where = (self.address, self.port)
        if not self.from_elsewhere(lambda: _sent(where, within)):
            return False

        def counted() -> bool | NotYet:
            return self.state()["foreign"] > before or NotYet("not counted")

        return time_until(counted, state="the message to be counted", within=within).reached


#: A reset at the end: what is on the way must not keep the sink busy.
_WITH_A_RESET = struct.pack("ii", 1, 0)


def _stuck_after(where: tuple[str, int], quiet: float, within: float) -> int | None:
    ends, taken = time.monotonic() + within, 0
    with socket.create_connection(where, timeout=within) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _WITH_A_RESET)
        connection.settimeout(quiet)
        while time.monotonic() < ends:
            try:
                taken += connection.send(bytes(16384))
            except TimeoutError:
                return taken
    return None


def _taken_in(where: tuple[str, int], seconds: float) -> float:
    piece = bytes(16384)
    began = time.monotonic()
    half, taken = began + seconds / 2, 0
    with socket.create_connection(where, timeout=seconds) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _WITH_A_RESET)
        while (now := time.monotonic()) < began + seconds:
            connection.settimeout(max(0.001, began + seconds - now))
            with contextlib.suppress(TimeoutError):
                sent = connection.send(piece)
                taken += sent if time.monotonic() >= half else 0
    return taken / (seconds / 2)


def _sent(where: tuple[str, int], timeout: float) -> bool:
    try:
        with socket.create_connection(where, timeout=timeout) as connection:
            connection.sendall(b'{"short_message":"is anybody there"}\0')
    except OSError:
        return False
    return True
