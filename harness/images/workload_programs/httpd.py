"""An HTTP/1.1 server for the workload programs: keep-alive, a thread per connection, clean stop.

``http.server`` would do, but importing it (email, html, mimetypes) takes long on a slow guest. For
the same reason there are no dataclasses here: they bring ``inspect``, a third of all start-up.
"""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_IDLE_SECONDS = 60.0
_LARGEST_HEAD = 64 << 10
_LARGEST_BODY = 1 << 20
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class Request:
    """One request; ``query`` holds the last value of each parameter."""

    def __init__(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body


class Response:
    """One answer."""

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers or {}


Handler = Callable[[Request], Response]


def as_json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with ``value`` as one line of JSON."""
    return Response(status, json.dumps(value).encode() + b"\n", headers=headers)


class Server:
    """Serves ``handler`` on a TCP port of all addresses, from threads of its own."""

    def __init__(self, port: int, handler: Handler) -> None:
        self._handler = handler
        self._listener = socket.create_server(("0.0.0.0", port), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._idle: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self._stopping = False

    def start(self) -> None:
        """Begin to serve; returns at once."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self, within: float) -> bool:
        """Take no more connections, finish what is being answered; whether that came to an end."""
        with self._lock:
            self._stopping = True
            idle = list(self._idle)
        # shutdown wakes the threads that sit in accept() and recv(); close() would not
        for each in (self._listener, *idle):
            _shut(each)
        self._listener.close()
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            with self._lock:
                if not self._busy:
                    return True
            time.sleep(0.01)
        return False

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                time.sleep(0.05)  # out of descriptors: let some connections end
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_IDLE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = b""
        try:
            # a connection taken over before the stop is answered once; then it is closed
            while True:
                with self._lock:
                    (self._busy if buffer else self._idle).add(connection)
                head, buffer = self._read_head(connection, buffer)
                if head is None:
                    return
                request, keep, buffer = _parse(connection, head, buffer)
                response = self._answer(request)
                keep = keep and not self._stopping
                connection.sendall(_render(response, keep, request))
                with self._lock:
                    self._busy.discard(connection)
                if not keep:
                    return
        except (OSError, ValueError):
            return  # the peer left, or does not speak HTTP
        finally:
            with self._lock:
                self._busy.discard(connection)
                self._idle.discard(connection)
            connection.close()

    def _read_head(self, connection: socket.socket, buffer: bytes) -> tuple[bytes | None, bytes]:
        while b"\r\n\r\n" not in buffer:
            received = connection.recv(65536)
            with self._lock:
                self._idle.discard(connection)
                if received:
                    self._busy.add(connection)
            if not received or len(buffer) > _LARGEST_HEAD:
                return None, b""
            buffer += received
        head, _, rest = buffer.partition(b"\r\n\r\n")
        return head, rest

    def _answer(self, request: Request | None) -> Response:
        if request is None:
            return as_json({"error": "not a request this server understands"}, 400)
        try:
            return self._handler(request)
        except ValueError as error:
            return as_json({"error": str(error)}, 400)


def serve_until_told(server: Server, within: float = 0.9) -> int:
    """Serve until SIGTERM or SIGINT, then stop in good order; 0, the exit code.

    As PID 1 a process gets no signal it has no handler for, hence the handlers that do nothing.
    """
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    server.start()
    while not told.wait(3600):
        pass
    server.stop(within)
    return 0


def unquote(text: str) -> str:
    """Undo percent-encoding and ``+``."""
    first, *others = text.replace("+", " ").split("%")
    data = first.encode()
    for part in others:
        try:
            data += bytes.fromhex(part[:2]) + part[2:].encode()
        except ValueError:
            data += b"%" + part.encode()
    return data.decode(errors="replace")


def _parse(
    connection: socket.socket, head: bytes, rest: bytes
) -> tuple[Request | None, bool, bytes]:
    """(request or None, keep the connection, bytes that belong to the next request)."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None, False, b""
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _LARGEST_BODY or "transfer-encoding" in headers:
        return None, False, b""
    while len(rest) < length:
        received = connection.recv(65536)
        if not received:
            raise ValueError("the peer left within a request")
        rest += received
    asked = headers.get("connection", "").lower()
    keep = asked != "close" if words[2] == "HTTP/1.1" else asked == "keep-alive"
    path, _, tail = words[1].partition("?")
    query = {}
    for pair in tail.split("&"):
        name, _, value = pair.partition("=")
        if name:
            query[unquote(name)] = unquote(value)
    return Request(words[0], unquote(path), query, rest[:length]), keep, rest[length:]


def _render(response: Response, keep: bool, request: Request | None) -> bytes:
    reason = _REASONS.get(response.status, "Status")
    lines = [
        f"HTTP/1.1 {response.status} {reason}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    head = "\r\n".join(lines).encode("latin-1", errors="replace") + b"\r\n\r\n"
    if request is not None and request.method == "HEAD":
        return head
    return head + response.body


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # gone already
        connection.shutdown(socket.SHUT_RDWR)
