"""Asking many embedded resolvers for many names, all the time, from one thread."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from harness.errors import LabError
from harness.probes.sampling.dns_wire import SERVER, Answer, answer_in, question
from harness.probes.sampling.netns import NetworkNamespace

#: Seconds after which a question counts as not answered. Docker's resolver answers from memory;
#: what it hands on to others it gives up after 4 s (libnetwork resolver.go, extIOTimeout).
UNANSWERED = 2.0

Report = Callable[[str, float, Answer], None]


@dataclass
class _Pending:
    name: str
    sent: float


class DnsProber:
    """The resolver of one network namespace, over a socket that is opened once.

    Made on a thread that may enter namespaces. ``number`` of a question is a counter of 16 bits.
    """

    def __init__(self, namespace: NetworkNamespace) -> None:
        with namespace.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setblocking(False)
        self._pending: dict[int, _Pending] = {}
        self._number = 0
        try:
            self.socket.connect(SERVER)
        except OSError as error:
            self.socket.close()
            raise LabError(f"the embedded DNS cannot be reached: {error.strerror}") from error

    def ask(self, names: Iterable[str], now: float, report: Report) -> None:
        """Send a question for each name that has none under way; report those given up."""
        for number, pending in list(self._pending.items()):
            if now - pending.sent >= UNANSWERED:
                del self._pending[number]
                report(pending.name, now, Answer(number, (), "no answer"))
        waiting = {pending.name for pending in self._pending.values()}
        for name in names:
            if name in waiting:
                continue
            self._number = (self._number + 1) & 0xFFFF
            with suppress(OSError):  # refused by the one before: nobody listens, reported in time
                self.socket.send(question(name, self._number))
            self._pending[self._number] = _Pending(name, now)

    def read(self, now: float, report: Report) -> None:
        """Report all answers that have come."""
        while True:
            try:
                packet = self.socket.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error, once
            with suppress(ValueError):
                answer = answer_in(packet)
                if (pending := self._pending.pop(answer.number, None)) is not None:
                    report(pending.name, now, answer)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def wait_for_answers(resolvers: Iterable[DnsProber], seconds: float) -> list[DnsProber]:
    """Return the resolvers with something to read, after at most so many seconds."""
    by_socket = {resolver.socket.fileno(): resolver for resolver in resolvers}
    poll = select.poll()
    for descriptor in by_socket:
        poll.register(descriptor, select.POLLIN)
    return [by_socket[each] for each, _ in poll.poll(max(0.0, seconds) * 1000)]
