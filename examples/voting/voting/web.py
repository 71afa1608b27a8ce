"""What voters see: ``GET /vote?for=cats`` casts a vote, and is answered once the queue has it."""

import json
import sys

from workload.httpd import Request, Response, Server, as_json, serve_until_told

from voting.client import PORT, Unreachable, ask


def handle(request: Request) -> Response:
    """Answer one request."""
    if request.path == "/":
        return as_json({"vote": "/vote?for=cats"})
    if request.path != "/vote" or not request.query.get("for"):
        return as_json({"error": "ask for /vote?for=NAME"}, 404)
    vote = json.dumps({"for": request.query["for"][:40]}).encode()
    try:
        ask("queue", "POST", "/push", vote)
    except Unreachable as error:
        return as_json({"error": str(error)}, 503)
    return as_json({"counted": "soon"})


if __name__ == "__main__":
    sys.exit(serve_until_told(Server(PORT, handle)))
