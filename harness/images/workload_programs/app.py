"""The app behind the balancer: says which task answered, and can be slow or fail on request.

``GET /`` answers JSON and the headers ``X-Task`` and ``X-Node``. Its query may ask for
``delay=SECONDS``, ``status=CODE`` and ``bytes=N`` (a body of N bytes instead of JSON).
``POST /control`` changes what every later request gets: ``fail_share`` (0 to 1, answered with
503; evenly spread, not random), ``delay`` (seconds), ``healthy``. ``GET /control`` shows it,
``GET /healthz`` is 200 while healthy, else 503.

Environment: TASK_NAME, NODE_NAME, SERVICE_NAME (swarm templates fill them), PORT (8000).
"""

import json
import os
import socket
import sys
import threading
import time

from .httpd import Request, Response, Server, as_json, serve_until_told

_LONGEST_DELAY = 600.0
_LARGEST_BODY = 64 << 20


class Behaviour:
    """What requests get until the next ``POST /control``; ``ValueError`` for what cannot be."""

    def __init__(
        self, fail_share: float = 0.0, delay: float = 0.0, *, healthy: bool = True
    ) -> None:
        if not 0 <= float(fail_share) <= 1:
            raise ValueError("fail_share is to be from 0 to 1")
        if not 0 <= float(delay) <= _LONGEST_DELAY:
            raise ValueError(f"delay is to be from 0 to {_LONGEST_DELAY:g} seconds")
        if not isinstance(healthy, bool):
            raise ValueError("healthy is to be true or false")  # noqa: TRY004 - the caller's 400
        self.fail_share = float(fail_share)
        self.delay = float(delay)
        self.healthy = healthy


class App:
    """The app's state: who it is, how it behaves, how often it answered."""

    def __init__(self, environment: dict[str, str]) -> None:
        hostname = socket.gethostname()
        self._identity = {
            "task": environment.get("TASK_NAME", hostname),
            "node": environment.get("NODE_NAME", ""),
            "service": environment.get("SERVICE_NAME", ""),
            "hostname": hostname,
        }
        self._headers = {"X-Task": self._identity["task"], "X-Node": self._identity["node"]}
        self._lock = threading.Lock()
        self._behaviour = Behaviour()
        self._owed = 0.0  # failures owed to fail_share; one is paid when it reaches 1
        self._served = 0

    def handle(self, request: Request) -> Response:
        """Answer one request; ``ValueError`` for one that makes no sense."""
        if request.path == "/control":
            return self._control(request)
        if request.path == "/healthz":
            healthy = self._behaviour.healthy
            return as_json({"healthy": healthy}, 200 if healthy else 503, self._headers)
        if request.path != "/":
            return as_json({"error": f"no such path: {request.path}"}, 404, self._headers)
        return self._root(request)

    def _root(self, request: Request) -> Response:
        asked_delay = _number(request.query, "delay", 0.0, _LONGEST_DELAY)
        status = int(_number(request.query, "status", 200, 599))
        size = int(_number(request.query, "bytes", -1, _LARGEST_BODY))
        if status < 200:
            raise ValueError("status is to be from 200 to 599")
        with self._lock:
            self._served += 1
            served = self._served
            delay = max(asked_delay, self._behaviour.delay)
            fails = self._fails_now()
        if delay > 0:
            time.sleep(delay)
        if fails:
            return as_json({"error": "asked to fail", **self._identity}, 503, self._headers)
        if size >= 0:
            return Response(status, b"x" * size, "application/octet-stream", self._headers)
        return as_json({**self._identity, "served": served}, status, self._headers)

    def _fails_now(self) -> bool:
        self._owed += self._behaviour.fail_share
        # 0.1 ten times is a hair below 1
        if self._owed >= 1 - 1e-9:
            self._owed -= 1
            return True
        return False

    def _control(self, request: Request) -> Response:
        if request.method == "POST":
            asked = json.loads(request.body or b"{}")
            if not isinstance(asked, dict) or set(asked) - set(vars(Behaviour())):
                raise ValueError("expected an object with fail_share, delay, healthy")
            with self._lock:
                try:
                    self._behaviour = Behaviour(**{**vars(self._behaviour), **asked})
                except TypeError as error:
                    raise ValueError(str(error)) from error
                if "fail_share" in asked:
                    self._owed = 0.0
        elif request.method != "GET":
            return as_json({"error": "GET or POST"}, 405)
        return as_json({**vars(self._behaviour), **self._identity}, 200, self._headers)


def main() -> int:
    """Serve until told to stop."""
    server = Server(int(os.environ.get("PORT", "8000")), App(dict(os.environ)).handle)
    return serve_until_told(server)


def _number(query: dict[str, str], name: str, default: float, largest: float) -> float:
    value = float(query.get(name, default))
    if not min(0, default) <= value <= largest:
        raise ValueError(f"{name} is to be from 0 to {largest:g}")
    return value


if __name__ == "__main__":
    sys.exit(main())
