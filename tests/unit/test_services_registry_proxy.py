"""The registry's front before a stand-in for it: what it passes on, and how it refuses."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.services.credentials import Certificate, certificate_for
from harness.services.servers.registry_proxy import RegistryProxy


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.do_PUT()

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        facts = {
            "path": self.path,
            "accept": self.headers.get_all("Accept"),
            "proto": self.headers["X-Forwarded-Proto"],
            "body": body.decode(),
        }
        answer = json.dumps(facts).encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Docker-Content-Digest", "sha256:1")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: str) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_for(tmp_path_factory.mktemp("tls"), ["localhost"], ["127.0.0.1"])


@pytest.fixture
def front(backend: int, certificate: Certificate) -> Iterator[RegistryProxy]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    made = RegistryProxy(0, backend, tls)
    yield made
    made.close()


@pytest.fixture
def ask(
    front: RegistryProxy, certificate: Certificate
) -> Callable[..., tuple[int, dict[str, str], bytes]]:
    trusted = ssl.create_default_context(cafile=str(certificate.certificate))

    def ask(
        method: str = "PUT",
        body: bytes = b"x",
        headers: Sequence[tuple[str, str]] | tuple[Any, ...] = (),
        timeout: int = 5,
    ) -> tuple[int, dict[str, str], bytes]:
        port = front.port
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=timeout, context=trusted
        )
        try:
            connection.putrequest(method, "/v2/a/manifests/1?b=c")
            for name, value in headers:
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    return ask


def test_a_request_goes_through_whole_with_a_header_that_comes_twice(
    ask: Callable[..., tuple[int, dict[str, str], bytes]],
) -> None:
    status, headers, body = ask(headers=[("Accept", "one"), ("Accept", "two")])
    assert (status, headers["Docker-Content-Digest"]) == (201, "sha256:1")
    assert json.loads(body) == {
        "path": "/v2/a/manifests/1?b=c",
        "accept": ["one", "two"],
        "proto": "https",
        "body": "x",
    }


@pytest.mark.parametrize(
    ("status", "header"), [(401, "WWW-Authenticate"), (429, "Retry-After"), (503, "Content-Type")]
)
def test_it_answers_with_a_status_as_a_registry_would(
    front: RegistryProxy,
    ask: Callable[..., tuple[int, dict[str, str], bytes]],
    status: int,
    header: str,
) -> None:
    front.behave("answer", status=status)
    seen, headers, body = ask("GET", b"")
    assert seen == status
    assert header in headers
    assert json.loads(body)["errors"][0]["code"]
    front.behave("serve")
    assert ask()[0] == 201
    assert front.state()["answers"] == {str(status): 1, "201": 1}


def test_it_is_late_by_what_it_was_told(
    front: RegistryProxy, ask: Callable[..., tuple[int, dict[str, str], bytes]]
) -> None:
    front.behave("slow", delay=0.3)
    began = time.monotonic()
    assert ask()[0] == 201
    assert time.monotonic() - began >= 0.3


def test_it_refuses_and_comes_back_on_the_same_port(
    front: RegistryProxy, ask: Callable[..., tuple[int, dict[str, str], bytes]]
) -> None:
    front.behave("refuse")
    with pytest.raises(ConnectionRefusedError):
        ask()
    front.behave("serve")
    assert ask()[0] == 201


def test_a_way_that_it_does_not_know_is_an_error(front: RegistryProxy) -> None:
    with pytest.raises(ValueError, match="not a known mode"):
        front.behave("sulk")
