"""HTTP requests to many places at once, from many network namespaces, on one thread.

Each request is a connection of its own: what is to be known is whether a new client gets through,
and to whom.
"""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.errors import LabError
from harness.probes.sampling.netns import NetworkNamespace

_REQUEST = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
_LONGEST = 64 << 10

#: The outcome of a request, by the error of its socket.
_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EINVAL: "unreachable",
}


@dataclass(frozen=True, order=True)
class Cell:
    """Who asks whom: a place (a client host, or a node in a network), and what is asked there."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} to {self.target}"


@dataclass(frozen=True)
class Question:
    """A request to be sent: from a namespace to an address and port."""

    cell: Cell
    namespace: NetworkNamespace
    address: str
    port: int
    path: str = "/"


@dataclass(frozen=True)
class Attempt:
    """A request and its outcome.

    ``outcome``: ok (below 400), 4xx, 5xx, refused, reset, timeout, unreachable, or unresolved (its
    name led nowhere, and nothing was sent). ``task`` and ``node``: who answered, as the answer
    says; "" if nobody did.
    """

    cell: Cell
    address: str
    port: int
    t: float
    took: float
    outcome: str
    code: int = 0
    task: str = ""
    node: str = ""


@dataclass
class _Open:
    question: Question
    socket: socket.socket
    t: float
    sent: bool = False
    received: bytes = b""


@dataclass
class HttpProber:
    """Sends questions and reports attempts. Used on a thread that may enter namespaces."""

    now: Callable[[], float]
    report: Callable[[Attempt], None]
    timeout: float
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _open: dict[Cell, _Open] = field(default_factory=dict)

    def ask(self, questions: Iterable[Question]) -> None:
        """Send each question whose cell has none under way."""
        for question in questions:
            if question.cell not in self._open:
                self._begin(question)

    def listen(self, seconds: float) -> None:
        """Wait at most so many seconds for answers, and report them."""
        for key, events in self._selector.select(max(0.0, seconds)):
            each: _Open = key.data
            try:
                self._go_on(each, events)
            except OSError as error:
                self._end(each, _OUTCOMES.get(error.errno or 0, "unreachable"))
        now = self.now()
        for each in list(self._open.values()):
            if now - each.t >= self.timeout:
                self._end(each, "timeout")

    def close(self) -> None:
        """Give up what is under way; it is not reported."""
        for each in self._open.values():
            each.socket.close()
        self._open = {}
        self._selector.close()

    def _begin(self, question: Question) -> None:
        t = self.now()
        try:
            with question.namespace.entered():
                made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        except (OSError, LabError):
            return  # the place is gone: its own probe reports that
        made.setblocking(False)
        each = _Open(question, made, t)
        self._open[question.cell] = each
        self._selector.register(made, selectors.EVENT_WRITE, each)
        number = made.connect_ex((question.address, question.port))
        if number not in (0, errno.EINPROGRESS):
            self._end(each, _OUTCOMES.get(number, "unreachable"))

    def _go_on(self, each: _Open, events: int) -> None:
        if not each.sent and events & selectors.EVENT_WRITE:
            if number := each.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, "")
            question = each.question
            host = f"{question.address}:{question.port}"
            each.socket.send(_REQUEST % (question.path.encode(), host.encode()))
            each.sent = True
            self._selector.modify(each.socket, selectors.EVENT_READ, each)
            return
        data = each.socket.recv(8192)
        each.received += data
        if b"\r\n\r\n" in each.received:
            self._answered(each)
        elif not data or len(each.received) > _LONGEST:
            self._end(each, "reset")

    def _answered(self, each: _Open) -> None:
        try:
            code, headers = head_of(each.received)
        except ValueError:
            self._end(each, "reset")
            return
        outcome = "5xx" if code >= 500 else "4xx" if code >= 400 else "ok"
        self._end(each, outcome, code, headers.get("x-task", ""), headers.get("x-node", ""))

    def _end(
        self, each: _Open, outcome: str, code: int = 0, task: str = "", node: str = ""
    ) -> None:
        self._selector.unregister(each.socket)
        each.socket.close()
        question = each.question
        del self._open[question.cell]
        took = round(self.now() - each.t, 6)
        self.report(
            Attempt(
                question.cell,
                question.address,
                question.port,
                each.t,
                took,
                outcome,
                code,
                task,
                node,
            )
        )


def head_of(data: bytes) -> tuple[int, dict[str, str]]:
    """Return status and headers (names in lower case) of an answer; ``ValueError`` if not HTTP."""
    first, *lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise ValueError("not an HTTP answer")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(words[1]), headers
