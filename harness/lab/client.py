"""A Docker SDK client on a node's socket that leaves no socket behind when nobody answers.

The SDK's own connection drops its socket unclosed when connecting is refused, which it is whenever
a dockerd has been killed on purpose.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.transport.unixconn import (
    UnixHTTPAdapter,
    UnixHTTPConnection,
    UnixHTTPConnectionPool,
)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, for questions that need no SDK. ``timeout`` in seconds."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = connected(str(self._path), self.timeout)


def connected(path: str, timeout: float | None) -> socket.socket:
    """Return a socket connected to a path; closed again when that fails."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


def docker_client(path: Path, timeout: int) -> DockerClient:
    """Return a client of the engine at ``path``, in its own version of the API; close it.

    ``timeout`` is that of each request, in seconds. Raises ``OSError``,
    :class:`http.client.HTTPException` or ``ValueError`` when the engine does not tell its version.
    """
    connection = UnixConnection(path, timeout)
    try:
        connection.request("GET", "/version")
        version = json.loads(connection.getresponse().read())["ApiVersion"]
    finally:
        connection.close()
    client = DockerClient(base_url=f"unix://{path}", version=version, timeout=timeout)
    client.api.mount("http+docker://", _Adapter(f"http+unix://{path}", timeout))
    return client


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        self.sock = connected(self.unix_socket, self.timeout)


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        return _Connection(self.base_url, self.socket_path, self.timeout)  # type: ignore[arg-type]


class _Adapter(UnixHTTPAdapter):
    def get_connection(self, url: Any, proxies: Any = None) -> Any:  # noqa: ARG002 - the SDK's own
        with self.pools.lock:
            if (pool := self.pools.get(url)) is None:
                pool = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
            return pool
