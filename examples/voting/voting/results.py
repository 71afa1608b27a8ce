"""The results so far, as the database has them."""

import json
import sys

from workload.httpd import Request, Response, Server, as_json, serve_until_told

from voting.client import PORT, Unreachable, ask


def handle(_: Request) -> Response:
    """Answer one request."""
    try:
        return as_json(json.loads(ask("database", "GET", "/")))
    except Unreachable as error:
        return as_json({"error": str(error)}, 503)


if __name__ == "__main__":
    sys.exit(serve_until_told(Server(PORT, handle)))
