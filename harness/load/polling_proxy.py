"""A proxy that learns its backends by polling the swarm's tasks, as Traefik does every 15 s.

Between two polls it sends requests to addresses of tasks that may be gone (traefik/traefik#7886).
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.errors import HarnessError
from harness.load.client_thread import ClientThread, Opener
from harness.swarm import Deployment
from harness.trial import Trial
from harness.wait import Elapsed

POLL_EVERY = 15.0
"""Traefik's own default, providers.swarm.refreshSeconds."""

#: Seconds that a backend may take: what is gone does not say so.
_TIMEOUT = 2.0


@dataclass(frozen=True)
class Proxied:
    """A request of the proxy: when (trial s), to which backend ("": it knew none), answered?"""

    t: float
    backend: str
    ok: bool


class PollingProxy(ClientThread):
    """Asks the backends it knows in turn, ``every`` seconds, while the ``with`` block lasts.

    ``via`` opens its connections in a network of the service: a container of the swarm, as the
    proxy itself is. ``port`` is that of the tasks.
    """

    def __init__(
        self,
        via: Opener,
        web: Deployment,
        service: str,
        port: int,
        trial: Trial,
        *,
        poll_every: float = POLL_EVERY,
        every: float = 0.25,
        name: str = "proxy",
    ) -> None:
        super().__init__(name, trial)
        self._via = via
        self._web = web
        self._service = service
        self._port = port
        self._poll_every = poll_every
        self._every = every
        self._requests: list[Proxied] = []

    @property
    def requests(self) -> list[Proxied]:
        """All requests so far, in order."""
        with self._lock:
            return list(self._requests)

    def longest_outage(self) -> Elapsed | None:
        """Return the longest time in which no request was answered; not reached: to the end.

        None if there was no request.
        """
        asked = self.requests
        if not asked:
            return None
        longest, began = 0.0, None
        for each in asked:
            if each.ok:
                longest = max(longest, each.t - began if began is not None else 0.0)
                began = None
            elif began is None:
                began = each.t
        still = asked[-1].t - began if began is not None else 0.0
        if still > longest:
            return Elapsed(round(still, 6), reached=False)
        return Elapsed(round(longest, 6), reached=True)

    def _run(self) -> None:
        backends: list[str] = []
        polled, due = -self._poll_every, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            if self._now() - polled >= self._poll_every:
                polled = self._now()
                backends = self._poll() or backends
            backend = backends[len(self._requests) % len(backends)] if backends else ""
            began = self._now()
            answered = bool(backend) and self._answers(backend)
            with self._lock:
                self._requests.append(Proxied(began, backend, answered))
            due = max(due + self._every, time.monotonic())

    def _poll(self) -> list[str]:
        try:
            tasks = self._web.tasks(self._service)
        except HarnessError:
            return []  # it keeps what it knows
        found = (task.addresses[0] for task in tasks if task.running and task.addresses)
        return sorted(address.partition("/")[0] for address in found)

    def _answers(self, backend: str) -> bool:
        connection = http.client.HTTPConnection(backend, self._port, timeout=_TIMEOUT)
        try:
            connection.sock = self._via(partial(socket.socket, socket.AF_INET))
            connection.sock.settimeout(_TIMEOUT)
            connection.sock.connect((backend, self._port))
            connection.request("GET", "/", headers={"Connection": "close"})
            return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _rows(self) -> Iterator[dict[str, Any]]:
        for each in self.requests:
            yield {"t": each.t, "backend": each.backend, "ok": each.ok}
