"""Single requests: timed one by one, and on a connection that falls silent."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from harness.probes.sampling.netns import NetworkNamespace
from harness.probes.single_requests import InsideVantagePoint, VantagePoint

HOST = "127.0.0.1"


class Here:
    """A namespace that is this one."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Stay where one is."""
        yield


class Server(http.server.ThreadingHTTPServer):
    """Counts connections and requests; forgets a connection after so many requests."""

    daemon_threads = True
    most_requests = 1000

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.connections = 0
        self.requests = 0


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 200 and keeps the connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.server.connections += 1
        self.here = 0

    def do_GET(self) -> None:
        """Answer, or drop the connection without a word."""
        self.here += 1
        self.server.requests += 1
        if self.here > self.server.most_requests:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on this machine."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def inside() -> InsideVantagePoint:
    """A place to send requests from, in no other namespace than this one."""
    return InsideVantagePoint(cast("NetworkNamespace", Here()))


def test_each_request_has_a_connection_of_its_own(server: Server) -> None:
    place = VantagePoint(lambda ask: ask())
    took = place.request_times(HOST, server.server_port, times=3)
    assert len(took) == 3
    assert all(0 < seconds < 5 for seconds in took)
    assert (server.connections, server.requests) == (3, 3)


def test_a_request_that_gets_no_answer_is_an_error(inside: InsideVantagePoint) -> None:
    with pytest.raises(ConnectionRefusedError):
        inside.request_times(HOST, 1, times=1)


def test_a_connection_that_is_still_there_answers(
    server: Server, inside: InsideVantagePoint
) -> None:
    answered = inside.time_to_answer_after(0.3, HOST, server.server_port, every=0.1)
    assert answered.reached
    assert server.connections == 1
    assert server.requests >= 3, "the first, the last, and some in between"


def test_one_that_was_forgotten_does_not_and_no_other_takes_its_place(
    server: Server, inside: InsideVantagePoint
) -> None:
    server.most_requests = 1
    answered = inside.time_to_answer_after(0.1, HOST, server.server_port)
    assert not answered.reached
    assert answered.last.startswith(("RemoteDisconnected", "NotConnected"))
    assert server.connections == 1
