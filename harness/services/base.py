"""What all external services have in common: a host of their own, a name, and ways to be away.

Each is a real server on a client host of its own, known by name on every node. What can
be wrong with it is distinguished as an operator would: a port that refuses, packets that vanish,
a server that has moved, and what the server itself does, which is each service's own.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from harness.errors import LabError, UsageError
from harness.lab import Lab
from harness.services.server_process import ServerProcess

T = TypeVar("T")

#: The outcome of an attempt to connect.
Contact = Literal["open", "refused", "silent", "reset", "unreachable"]

_TABLE = "swarm-chaos-service"
_PREFIX = 24

#: Where a service goes when it moves: beyond the lab's nodes, which end at .200.
_ELSEWHERE = 200


class ExternalService:
    """A server of the harness's own on the fabric. It ends with the lab, if it is not closed."""

    #: What it is, for messages and the journal.
    kind: ClassVar[str]
    #: Where it listens: TCP, UDP or both.
    port: ClassVar[int]
    #: The module of :mod:`harness.services.servers` that is its program.
    program: ClassVar[str]
    #: The longest that one of its answers takes while all is well, in s.
    patience: ClassVar[float] = 2.0

    def __init__(self, lab: Lab, name: str, settings: dict[str, Any], log: Path) -> None:
        self.name = name
        self.hostname = f"{name}.test"
        self.lab = lab
        self.host = lab.client_host(name)
        self.address = self.host.address
        self._server = ServerProcess(self.host, self.program, settings, log)
        self._announce()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.address}:{self.port}>"

    @property
    def alive(self) -> bool:
        """Whether its program runs."""
        return self._server.alive

    def behave(self, mode: str, **facts: Any) -> None:
        """Set the server's mode: "serve", or one of its program's ways to misbehave."""
        self._server.command("behave", mode=mode, **facts)

    def state(self) -> dict[str, Any]:
        """Return the server's own report: ``mode`` and its counts."""
        return self._server.command("state")

    def close(self) -> None:
        """End the server."""
        self._server.close()

    # -- the way to it -------------------------------------------------------------------------

    @property
    def unreached(self) -> bool:
        """Whether packets to it are dropped by :meth:`drop_packets`."""
        return _TABLE in self._run(["nft", "list", "tables"])

    def drop_packets(self) -> None:
        """Drop all that comes in for its port; the sender gets no error."""
        rules = f"""
            table inet {_TABLE} {{
                chain arriving {{
                    type filter hook input priority -300
                    meta l4proto {{ tcp, udp }} th dport {self.port} drop
                }}
            }}
        """
        self._run(["nft", "-f", "-"], rules)

    def pass_packets(self) -> None:
        """Undo :meth:`drop_packets`, if there is anything to undo."""
        if self.unreached:
            self._run(["nft", "delete", "table", "inet", _TABLE])

    def move(self) -> None:
        """Take another address and give up the present one, as a restart elsewhere would.

        The nodes' name for it follows; connections to the old address hear nothing more.
        """
        self._take(self.address_elsewhere(self.host.address))

    @staticmethod
    def address_elsewhere(address: str) -> str:
        """Return where a service with this first address goes when it moves."""
        network, _, number = address.rpartition(".")
        if _ELSEWHERE + int(number) > 254:
            raise UsageError(f"{address} has no other address to move to on the fabric")
        return f"{network}.{_ELSEWHERE + int(number)}"

    def move_back(self) -> None:
        """Return to the first address, unless it is there."""
        self._take(self.host.address)

    def contact(
        self, timeout: float | None = None, *, at: str | None = None, linger: float = 0.1
    ) -> Contact:
        """Connect to its port over TCP from another place on the fabric, and return the outcome.

        ``at`` is another address than its present one. ``timeout`` (s) is for connecting; a
        connection that is not reset within ``linger`` seconds is open.
        """
        where = (at or self.address, self.port)
        seconds = self.patience if timeout is None else timeout
        return self.from_elsewhere(lambda: _contact(where, seconds, linger))

    def from_elsewhere(self, work: Callable[[], T]) -> T:
        """Run ``work`` with its sockets at another place on the fabric, where clients are."""
        return self.lab.client_host().network.call(work)

    # -- within --------------------------------------------------------------------------------

    def _announce(self) -> None:
        for node in self.lab.nodes.values():
            node.set_host(self.hostname, self.address)

    def _take(self, address: str) -> None:
        if address == self.address:
            return
        # In this order: with its first address an interface loses all of the same network.
        self._run(["ip", "address", "delete", f"{self.address}/{_PREFIX}", "dev", "eth0"])
        self._run(["ip", "address", "add", f"{address}/{_PREFIX}", "dev", "eth0"])
        self.address = address
        self._announce()

    def _run(self, argv: Sequence[str], text: str = "") -> str:
        """Run a program on the host, ``text`` on its standard input; return what it prints."""
        pipe = subprocess.PIPE
        process = self.host.popen(argv, stdin=pipe, stdout=pipe, stderr=pipe)
        out, said = process.communicate(text.encode(), timeout=30)
        if process.returncode != 0:
            raise LabError(
                f"at {self.name}, `{' '.join(argv)}` failed: {said.decode(errors='replace')}"
            )
        return out.decode()


def _contact(where: tuple[str, int], timeout: float, linger: float) -> Contact:
    try:
        with socket.create_connection(where, timeout=timeout) as connection:
            connection.settimeout(linger)
            with contextlib.suppress(TimeoutError):  # a server that waits for us to begin
                connection.recv(1)
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silent"
    except OSError:
        return "unreachable"
    return "open"
