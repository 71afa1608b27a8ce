"""The votes that were counted, in a file: ``POST /count`` is answered once it is on the disk."""

import json
import os
import sys
import threading

from workload.httpd import Request, Response, Server, as_json, serve_until_told

from voting.client import PORT

FILE = "/data/votes.jsonl"


class Votes:
    """The votes of a file that only grows."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "ab+", buffering=0)  # noqa: SIM115, PTH123 - as long as it lives
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}
        self._file.seek(0)
        for line in self._file.read().splitlines():
            self._add(line)

    def count(self, vote: bytes) -> None:
        """Write one vote; ``ValueError`` if it is none."""
        with self._lock:
            self._add(vote)
            self._file.write(vote + b"\n")
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, vote: bytes) -> None:
        name = str(json.loads(vote)["for"])
        self.counts[name] = self.counts.get(name, 0) + 1


def main() -> int:
    """Serve until told to stop."""
    votes = Votes(FILE)

    def handle(request: Request) -> Response:
        if request.path == "/count" and request.method == "POST":
            votes.count(request.body)
        return as_json(votes.counts)

    return serve_until_told(Server(PORT, handle))


if __name__ == "__main__":
    sys.exit(main())
