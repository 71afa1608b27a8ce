"""Votes on their way, in memory: ``POST /push``, and ``POST /pop`` gives the oldest, or nothing."""

import collections
import sys

from workload.httpd import Request, Response, Server, as_json, serve_until_told

from voting.client import PORT

WAITING: "collections.deque[bytes]" = collections.deque()


def handle(request: Request) -> Response:
    """Answer one request."""
    if request.path == "/push" and request.method == "POST":
        WAITING.append(request.body)
        return as_json({"waiting": len(WAITING)})
    if request.path == "/pop" and request.method == "POST":
        try:
            return Response(200, WAITING.popleft())
        except IndexError:
            return Response(200, b"")
    return as_json({"waiting": len(WAITING)})


if __name__ == "__main__":
    sys.exit(serve_until_told(Server(PORT, handle)))
