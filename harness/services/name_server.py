"""A name server upstream of the swarm's own, for the names that are not the swarm's."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dnslib import RCODE, DNSError, DNSRecord

from harness.errors import LabError
from harness.lab import Lab
from harness.services.base import ExternalService


@dataclass(frozen=True)
class Resolved:
    """The answer to a question; ``took`` is in seconds.

    ``code`` is the response code (NOERROR, NXDOMAIN, SERVFAIL, ...), "refused" or "silence".
    """

    addresses: tuple[str, ...]
    code: str
    took: float


class NameServer(ExternalService):
    """A name server for a fixed table of names, by UDP and TCP. Other names it does not know.

    Nodes ask it from its start on, and containers that are made from then on through the engine's
    own resolver; when it is closed, they ask nobody again.
    """

    kind: ClassVar = "name server"
    port: ClassVar = 53
    program: ClassVar = "harness.services.servers.name_server"

    def __init__(self, lab: Lab, name: str, *, names: Mapping[str, str], log: Path) -> None:
        self.names = dict(names)
        super().__init__(lab, name, {"port": self.port, "names": self.names}, log)

    def resolve(self, name: str, timeout: float = 2.0) -> Resolved:
        """Ask it from elsewhere on the fabric, once, by UDP; ``timeout`` in seconds."""
        where = (self.address, self.port)
        return self.from_elsewhere(lambda: _resolve(where, name, timeout))

    def _announce(self) -> None:
        super()._announce()
        for node in self.lab.nodes.values():
            node.use_name_server(self.address)

    def close(self) -> None:
        """Stop the server; nodes ask nobody then."""
        for node in self.lab.nodes.values():
            with contextlib.suppress(LabError):  # it goes down at this moment
                node.use_name_server(None)
        super().close()


def _resolve(where: tuple[str, int], name: str, timeout: float) -> Resolved:
    question = DNSRecord.question(name)
    question.header.id = random.getrandbits(16)
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(timeout)
        asking.connect(where)
        try:
            asking.send(question.pack())
            answer = DNSRecord.parse(asking.recv(65536))
        except ConnectionRefusedError:
            return Resolved((), "refused", time.monotonic() - began)
        except (OSError, DNSError):
            return Resolved((), "silence", time.monotonic() - began)
    addresses = tuple(sorted(str(each.rdata) for each in answer.rr))
    return Resolved(addresses, RCODE.get(answer.header.rcode), time.monotonic() - began)
