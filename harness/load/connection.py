"""One user's connection to its entry node: HTTP/1.1, kept alive, and without hidden retries.

The clients at hand (geventhttpclient's own, and so Locust's ``FastHttpUser``) quietly repeat a GET
whose connection broke, which hides the very resets a chaos test is there to count. So only the
response parser is taken from there. What this does about connections:

* the connection is kept and used again as long as the server allows it;
* one that the server closed while it was idle is replaced before the request is sent: that is
  the server's right (RFC 9112, section 9.3) and no error;
* after any error it is closed; the next request makes a new one;
* nothing is ever repeated, no redirect is followed, no cookie is kept.

A user may instead take a new connection for each request, and says so to the server
(``Connection: close``): only such users notice where a balancer in the kernel sends newcomers.
"""

from __future__ import annotations

import select
import socket as plain_socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gevent
import gevent.socket
from geventhttpclient.response import HTTPParseError, HTTPSocketResponse

CLOSE = "Connection: close\r\n"


class BrokenAnswer(ConnectionError):
    """The connection ended before the answer did, or what came was no HTTP."""


class Answer(NamedTuple):
    """Status code, and who says to have answered (``X-Task``, ``X-Node``; "" if nobody does).

    ``unresolved``: it is a balancer's own error, and the balancer had no address to ask.
    """

    code: int
    task: str
    node: str
    unresolved: bool


class Endpoint(NamedTuple):
    """Where to connect to and what to say there."""

    family: int
    address: Any
    request: bytes


def endpoint(url: str, path: str, *, keep: bool = True) -> Endpoint:
    """Look a base URL's host up, once: no name is asked for in the middle of an outage.

    ``keep``: whether the connection is to be used again.

    Raises ``OSError`` if the name is not known.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    found = plain_socket.getaddrinfo(host, port, type=plain_socket.SOCK_STREAM)
    request = (
        f"GET {parts.path.rstrip('/')}{path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"User-Agent: swarm-chaos\r\nAccept: */*\r\n{'' if keep else CLOSE}\r\n"
    )
    return Endpoint(found[0][0], found[0][4], request.encode("ascii"))


class Connection:
    """To one endpoint, with ``timeout`` seconds for all of connecting and answering."""

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._socket: Any = None

    def get(self) -> Answer:
        """Ask once. Raises ``OSError``: ``TimeoutError``, :class:`BrokenAnswer` or the kernel's."""
        try:
            with gevent.Timeout(self._timeout, TimeoutError("no answer in time")):
                connection = self._open()
                connection.sendall(self._endpoint.request)
                response = HTTPSocketResponse(connection, method="GET")
                response.read()
        except HTTPParseError as error:
            self.close()
            raise BrokenAnswer(str(error)) from error
        except BaseException:
            self.close()
            raise
        if response.should_close():
            self.close()
        code = response.get_code()
        # The balancer names itself and, if it found one, the address that it asked.
        unresolved = code >= 500 and bool(_header(response, "X-Balancer"))
        unresolved = unresolved and not _header(response, "X-Upstream")
        return Answer(code, _header(response, "X-Task"), _header(response, "X-Node"), unresolved)

    def close(self) -> None:
        """Close the connection, if there is one; the next request makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> Any:
        if self._socket is not None and _has_input(self._socket.fileno()):
            self.close()  # an idle connection has nothing to say but its own end
        if self._socket is None:
            self._socket = gevent.socket.socket(self._endpoint.family, plain_socket.SOCK_STREAM)
            self._socket.connect(self._endpoint.address)
        return self._socket


def _has_input(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _header(response: HTTPSocketResponse, name: str) -> str:
    value = response.get(name, "")
    if isinstance(value, list):
        value = value[0]
    return value or ""
