"""Take votes from the queue and have the database count them, again and again until it does."""

import signal
import sys
import threading

from voting.client import Unreachable, ask

STOP = threading.Event()


def count(vote: bytes) -> None:
    """Have one vote counted; what the database has not acknowledged is sent again."""
    while not STOP.is_set():
        try:
            ask("database", "POST", "/count", vote)
        except Unreachable as error:
            print(f"worker: {error}", flush=True)
            STOP.wait(0.5)
        else:
            return


def main() -> int:
    """Work until told to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: STOP.set())
    while not STOP.is_set():
        try:
            vote = ask("queue", "POST", "/pop")
        except Unreachable as error:
            print(f"worker: {error}", flush=True)
            vote = b""
        if vote:
            count(vote)
        else:
            STOP.wait(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
