"""The registry's proxy: a child process that ends TLS, misbehaves on command, and passes on the
rest to Debian's docker-registry, which it starts behind itself.

Started by :class:`harness.services.Registry` with its settings as JSON in the first argument;
commands come as JSON lines on standard input and are answered by one line each on standard output;
the end of standard input ends it and the registry.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.services.servers.control_channel import answered

MODES = ("serve", "refuse", "answer", "slow")

_PIECE = 1 << 20
_START_WITHIN = 60.0  # s for docker-registry to answer; a guest that emulates takes a few
_PATIENCE = 120.0  # s that a client may be silent
_LARGEST_BODY = 256 << 20  # bytes; the largest workload image has a twentieth of it
_LONGEST_LINE = 1 << 10  # bytes of a chunk's head
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}

#: The registry API's own words for a status.
_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 429: "TOOMANYREQUESTS"}


class RegistryProxy:
    """The proxy on a port (0: one that is free); ``backend`` is the registry's, on the loopback."""

    def __init__(self, port: int, backend: int, tls: ssl.SSLContext) -> None:
        self.mode = "serve"
        self.status = 0
        self.delay = 0.0
        self.backend = backend
        self.answers: Counter[str] = Counter()
        self.port = port
        self._tls = tls
        self._server: _Server | None = None
        self._open()

    def behave(self, mode: str, *, status: int = 0, delay: float = 0.0) -> None:
        """Be a registry that serves, refuses, answers all with ``status``, or ``delay`` s late."""
        if mode not in MODES:
            raise ValueError(f"{mode!r} is not a known mode")
        self.mode, self.status, self.delay = mode, status, delay
        if mode == "refuse":
            self.close()
        else:
            self._open()

    def state(self) -> dict[str, Any]:
        """Return what it does, and how often it answered with which status."""
        return {"mode": self.mode, "answers": dict(self.answers)}

    def close(self) -> None:
        """Close the port and all connections."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.drop_connections()

    def _open(self) -> None:
        if self._server is None:
            self._server = _Server(self.port, self, self._tls)
            self.port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, proxy: RegistryProxy, tls: ssl.SSLContext) -> None:
        self.proxy = proxy
        self._tls = tls
        self._open: set[ssl.SSLSocket] = set()
        super().__init__(("0.0.0.0", port), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        plain, address = super().get_request()
        plain.settimeout(_PATIENCE)
        # The handshake is the handler's, in its own thread: nobody else waits for it.
        secure = self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._open.add(secure)
        return secure, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that goes away or rejects the certificate."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.do_handshake()
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's own name
        """Nothing: answers are counted."""

    def _any(self) -> None:
        proxy = self.server.proxy
        try:
            body = self._body()
        except ValueError as error:  # what follows on this connection cannot be told apart
            self.close_connection = True
            self._refuse(400, str(error))
            return
        if proxy.mode == "answer":
            self._refuse(proxy.status)
            return
        if proxy.mode == "slow":
            time.sleep(proxy.delay)
        try:
            self._pass_on(body)
        except (OSError, http.client.HTTPException) as error:
            self._refuse(502, str(error))

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815 - theirs

    def _body(self) -> bytes:
        """Return the request's body; ``ValueError`` for one without a sane length."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read(_length_in(self.headers.get("Content-Length") or "0", 10))
        pieces: list[bytes] = []
        while size := _length_in(self._line().split(";")[0].strip(), 16):
            if size + sum(map(len, pieces)) > _LARGEST_BODY:
                raise ValueError(f"a body of more than {_LARGEST_BODY} bytes")
            pieces.append(self._read(size))
            self._line()
        while self._line():
            pass
        return b"".join(pieces)

    def _line(self) -> str:
        line = self.rfile.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ValueError("a line in a chunked body has no end")
        return line.decode("latin-1").strip()

    def _read(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise ValueError(f"a body was cut off after {len(body)} of {size} bytes")
        return body

    def _pass_on(self, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.proxy.backend)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():  # some, as Accept, come more than once
                if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                    connection.putheader(name, value)
            connection.putheader("X-Forwarded-Proto", "https")
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            self.server.proxy.answers[str(answer.status)] += 1
            self.send_response_only(answer.status)
            length = answer.getheader("Content-Length")
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            if length is None:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                while piece := answer.read(_PIECE):
                    self.wfile.write(piece)
        finally:
            connection.close()

    def _refuse(self, status: int, message: str = "refused on command") -> None:
        self.server.proxy.answers[str(status)] += 1
        error = {"code": _CODES.get(status, "UNKNOWN"), "message": message}
        body = json.dumps({"errors": [error]}).encode()
        self.send_response_only(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="swarm-chaos"')
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _length_in(digits: str, base: int) -> int:
    """Return a length in bytes as a header has it; ``ValueError`` for none, or one too large."""
    if not digits.isascii() or not digits.isalnum() or len(digits) > 12:  # int() takes "-1", "1_0"
        raise ValueError("a body has no valid length")
    length = int(digits, base)
    if length > _LARGEST_BODY:
        raise ValueError(f"a body of more than {_LARGEST_BODY} bytes")
    return length


def main() -> int:
    """Serve by the settings in the first argument."""
    settings = json.loads(sys.argv[1])
    registry = subprocess.Popen(
        settings["registry"], stdin=subprocess.DEVNULL, stdout=2, stderr=2, cwd="/"
    )
    try:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(settings["certificate"], settings["key"])
        _wait_for(registry, settings["backend"])
        proxy = RegistryProxy(settings["port"], settings["backend"], tls)
        _tell(proxy.state())
        for line in iter(sys.stdin.readline, ""):
            os.write(1, answered(line, partial(_handle, proxy)))
        proxy.close()
    except OSError as error:
        _tell({"error": str(error)})
        return 1
    finally:
        registry.terminate()
        registry.wait()
    return 0


def _handle(proxy: RegistryProxy, command: dict[str, Any]) -> dict[str, Any]:
    if command.pop("do") == "behave":
        proxy.behave(**command)
    return proxy.state()


def _wait_for(registry: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + _START_WITHIN
    while time.monotonic() < ends:
        if registry.poll() is not None:
            raise OSError(f"docker-registry ended with exit code {registry.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    raise OSError(f"docker-registry has not answered within {_START_WITHIN:g} s")


def _tell(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
