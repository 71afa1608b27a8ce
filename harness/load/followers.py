"""Readers of what an engine streams: service logs, events, statistics; and whether they get it all.

Followers are what monitoring, log shippers and people with `docker service logs -f` are to an
engine. Each keeps a request open; some come and go, which is where engines have leaked.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.lab import Node
from harness.lab.client import UnixConnection
from harness.load.client_thread import ClientThread
from harness.swarm import Deployment
from harness.trial import Trial
from harness.wait import NotYet, wait_for

How = Literal["following", "ended", "abandoned", "refused"]
Read = Literal["complete", "ended", "hangs", "refused"]

EVENTS = "/events"
"""The path of a node's events."""

#: A line of the image logwriter: which of its task's it is.
_NUMBERED = re.compile(rb"seq=(\d+) t=\S+ task=(\S+)")

#: Seconds for the headers of an answer; a manager asks others first.
_ANSWERS_WITHIN = 20.0

_OPENED_WITHIN = 30.0


def logs_of(web: Deployment, service: str, *, follow: bool = True) -> str:
    """Return the path of a service's logs, at any manager; ``follow``: only those yet to come."""
    id_ = web.services[service]
    more = "&follow=1&tail=0" if follow else ""
    return f"/services/{id_}/logs?stdout=1&stderr=1{more}"


@dataclass
class Lines:
    """The numbered lines of one task in a stream: ``missing`` are those left out in between."""

    last: int
    count: int = 1
    missing: int = 0


@dataclass
class Stream:
    """One request: from ``began`` to ``ended`` (trial s), how it ended, what came by it.

    ``lines`` are those that logwriters numbered, by task.
    """

    began: float
    ended: float | None = None
    how: How = "following"
    received: int = 0
    heard: float | None = None
    lines: dict[str, Lines] = field(default_factory=dict)
    _rest: bytes = b""

    def take(self, data: bytes) -> None:
        """Count what came; the end of a line may come with the next piece."""
        self.received += len(data)
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        for number, name in _NUMBERED.findall(whole):
            task, at = name.decode(errors="replace"), int(number)
            known = self.lines.get(task)
            if known is None:
                self.lines[task] = Lines(at)
            else:
                known.missing += max(0, at - known.last - 1)
                known.count += 1
                known.last = max(at, known.last)


@dataclass
class _Follower:
    stream: Stream
    connection: UnixConnection
    socket: socket.socket | None = None


class Followers(ClientThread):
    """Keeps ``count`` requests of a node's API open while the ``with`` block lasts.

    ::

        with Followers(swarm.leader, logs_of(web, "writer"), trial, count=5) as followers:
            ...
        measure(ENDED, followers.ended)

    With ``lives`` each abandons its request after so many seconds, as a person who presses Ctrl-C,
    and opens another.
    """

    def __init__(
        self,
        node: Node,
        path: str,
        trial: Trial,
        *,
        count: int = 1,
        lives: float | None = None,
        name: str = "followers",
    ) -> None:
        super().__init__(name, trial)
        self._socket = node.dockerd.socket
        self._path = path
        self._count = count
        self._lives = lives
        self._streams: list[Stream] = []
        self._threads: list[threading.Thread] = []

    @property
    def streams(self) -> list[Stream]:
        """All requests so far, by their begin."""
        with self._lock:
            return list(self._streams)

    @property
    def ended(self) -> int:
        """How many the engine ended, or refused."""
        return sum(each.how in ("ended", "refused") for each in self.streams)

    @property
    def missing(self) -> int:
        """How many numbered lines were left out in the midst of a stream."""
        return sum(lines.missing for each in self.streams for lines in each.lines.values())

    def longest_silence(self) -> float | None:
        """Return the longest time since a stream that is followed brought anything, in seconds.

        None if none is followed any more.
        """
        now = self._now()
        followed = [each for each in self.streams if each.how == "following"]
        return max((now - (each.heard or each.began) for each in followed), default=None)

    def wait_heard(self, within: float = _OPENED_WITHIN) -> None:
        """Wait until every stream has brought something; :class:`WaitTimeout` if one has not."""

        def heard() -> bool | NotYet:
            number = sum(each.heard is not None for each in self.streams)
            return number >= self._count or NotYet(f"{number} of {self._count} have")

        wait_for(heard, state="every stream to bring something", within=within, every=0.1)

    # -- within --------------------------------------------------------------------------------

    def _run(self) -> None:
        followers = [self._follow() for _ in range(self._count)]
        while not self._stop.wait(0.1):
            for number, each in enumerate(followers):
                if self._lives is None or self._now() - each.stream.began < self._lives:
                    continue
                self._abandon(each)
                followers[number] = self._follow()
        for each in followers:
            self._abandon(each)
        for thread in self._threads:
            thread.join(timeout=_ANSWERS_WITHIN)

    def _follow(self) -> _Follower:
        stream = Stream(self._now())
        follower = _Follower(stream, UnixConnection(self._socket, _ANSWERS_WITHIN))
        with self._lock:
            self._streams.append(stream)
        thread = threading.Thread(target=self._read, args=(follower,), daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return follower

    def _read(self, follower: _Follower) -> None:
        stream, connection = follower.stream, follower.connection
        how: How = "refused"
        try:
            connection.request("GET", self._path)
            follower.socket = connection.sock  # an answer may let go of it, and goes on reading
            response = connection.getresponse()
            if response.status == http.HTTPStatus.OK:
                how = "ended"
                follower.socket.settimeout(None)  # silence is what is being watched
                while data := response.read1(1 << 16):
                    with self._lock:
                        stream.take(data)
                        stream.heard = self._now()
        except (OSError, http.client.HTTPException, ValueError):
            pass  # `how` says how far it came
        finally:
            connection.close()
            with self._lock:
                stream.ended = self._now()
                if stream.how == "following":
                    stream.how = how

    def _abandon(self, follower: _Follower) -> None:
        with self._lock:
            if follower.stream.how == "following":
                follower.stream.how = "abandoned"
        if follower.socket is not None:
            with suppress(OSError):  # it was closed just now
                follower.socket.shutdown(socket.SHUT_RDWR)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for each in self.streams:
            yield {
                "t": each.began,
                "ended": each.ended,
                "how": each.how,
                "bytes": each.received,
                "lines": {task: lines.count for task, lines in each.lines.items()},
                "missing": sum(lines.missing for lines in each.lines.values()),
            }


@dataclass(frozen=True)
class LogsRead:
    """What came of asking for a service's logs once: the outcome, seconds, tasks without a line.

    Those are of the tasks that ran when it was asked, of the image logwriter.
    """

    outcome: Read
    seconds: float
    without: tuple[str, ...]


def read_logs(node: Node, web: Deployment, service: str, *, within: float) -> LogsRead:
    """Ask a manager for all logs of a service, as `docker service logs` does, and judge the answer.

    "complete": lines of every running task, and an end; "ended": without some task's, or cut off;
    "hangs": nothing came for ``within`` seconds, and no end.
    """
    tasks = [task for task in web.tasks(service) if task.running]
    began, stream = time.monotonic(), Stream(0.0)
    outcome: Read = "refused"
    whole = False
    connection = UnixConnection(node.dockerd.socket, within)
    try:
        connection.request("GET", logs_of(web, service, follow=False))
        response = connection.getresponse()
        if response.status == http.HTTPStatus.OK:
            outcome = "ended"
            while data := response.read1(1 << 16):
                stream.take(data)
            whole = True
    except TimeoutError:
        outcome = "hangs"
    except (OSError, http.client.HTTPException):
        pass  # refused, or cut off: `outcome` says which
    finally:
        connection.close()
    there = {name.rpartition(".")[2] for name in stream.lines}
    without = tuple(f"{task.id} on {task.node}" for task in tasks if task.id not in there)
    if whole and not without:
        outcome = "complete"
    return LogsRead(outcome, round(time.monotonic() - began, 6), without)
