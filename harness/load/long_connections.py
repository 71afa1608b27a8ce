"""Connections that stay open, as of WebSockets, database pools and message queues.

What users see of an update is not whether a new connection works, but what becomes of the one they
have: told that it ends, they connect again; told nothing, they wait for their own time-out.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.load.client_thread import ClientThread, Opener, family_of
from harness.trial import Trial
from harness.wait import Elapsed, NotYet, time_until

How = Literal["open", "closed", "reset", "silent", "refused"]
"""What became of a connection; "silent": an answer did not come in time, and nothing was said."""


@dataclass
class Connection:
    """One connection: from ``began`` to ``ended`` (trial s), its last answer, its task, its end."""

    began: float
    task: str = ""
    answered: float | None = None
    ended: float | None = None
    how: How = "open"

    @property
    def silence(self) -> float:
        """Seconds from its last answer (or its begin) to its end; 0 while it is open."""
        last = self.began if self.answered is None else self.answered
        return round(self.ended - last, 6) if self.ended is not None else 0.0


@dataclass
class _User:
    socket: socket.socket | None = None
    current: Connection | None = None
    ask_at: float = 0.0
    asked_at: float | None = None
    received: bytes = b""
    past: list[Connection] = field(default_factory=list)


class LongConnections(ClientThread):
    """Keeps connections to the echo program open, and asks over each, while the block lasts.

    ::

        with LongConnections(client.network.call, (node.address, 9007), trial, users=4) as users:
            web.redeploy("echo")
        measure(HUNG, users.ended["silent"])

    A user whose connection ends connects again at once, and after a refusal after ``every``
    seconds. One that gets no answer for ``patience`` seconds takes the connection for dead.
    """

    def __init__(
        self,
        via: Opener,
        to: tuple[str, int],
        trial: Trial,
        *,
        users: int = 4,
        every: float = 0.5,
        patience: float = 5.0,
        name: str = "connections",
    ) -> None:
        super().__init__(name, trial)
        self._via = via
        self._to = to
        self._every = every
        self._patience = patience
        self._users = [_User() for _ in range(users)]
        self._selector = selectors.DefaultSelector()

    @property
    def connections(self) -> list[Connection]:
        """All connections so far, by their begin."""
        with self._lock:
            found = [each for user in self._users for each in (*user.past, user.current) if each]
            return sorted(found, key=lambda each: each.began)

    @property
    def ended(self) -> dict[How, int]:
        """How many connections ended in which way; ways that did not occur are there with 0."""
        counted = Counter(each.how for each in self.connections)
        ways: tuple[How, ...] = ("closed", "reset", "silent", "refused")
        return {how: counted[how] for how in ways}

    def longest_silence(self) -> float | None:
        """Return the longest that a connection had got no answer when it ended, in seconds.

        None if there was no connection.
        """
        return max((each.silence for each in self.connections), default=None)

    def time_to_all_answered(self, *, within: float) -> Elapsed:
        """Measure the time until every user has a connection that was answered from now on."""
        began = time.monotonic()
        after = self._trial.clock.at(began)

        def answered() -> bool | NotYet:
            with self._lock:
                ok = sum(
                    user.current is not None and (user.current.answered or -1.0) >= after
                    for user in self._users
                )
            return ok == len(self._users) or NotYet(f"{ok} of {len(self._users)} are answered")

        return time_until(
            answered, state="all users to be answered", within=within, every=0.1, since=began
        )

    # -- within --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                now = self._now()
                for user in self._users:
                    self._look_after(user, now)
                wait = min(user.ask_at for user in self._users) - self._now()
                for key, events in self._selector.select(min(max(wait, 0.0), self._every)):
                    hears = events & selectors.EVENT_READ
                    (self._hear if hears else self._connected)(key.data)
        finally:
            for user in self._users:
                if user.socket is not None:
                    user.socket.close()
            self._selector.close()

    def _look_after(self, user: _User, now: float) -> None:
        if user.socket is None and now >= user.ask_at:
            self._connect(user, now)
        elif user.asked_at is not None and now - user.asked_at >= self._patience:
            self._end(user, "silent")
        elif user.socket is not None and user.asked_at is None and now >= user.ask_at:
            self._ask(user, now)

    def _connect(self, user: _User, now: float) -> None:
        with self._lock:
            user.current = Connection(now)
        try:
            user.socket = self._via(self._open)
        except OSError:
            self._end(user, "refused")
            return
        self._selector.register(user.socket, selectors.EVENT_WRITE, user)
        user.received = b""
        user.asked_at = now  # until it is connected, it is waited for as for an answer

    def _open(self) -> socket.socket:
        made = socket.socket(family_of(self._to[0]), socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            made.setblocking(False)
            with suppress(BlockingIOError):  # under way
                made.connect(self._to)
        except BaseException:
            made.close()
            raise
        return made

    def _connected(self, user: _User) -> None:
        assert user.socket is not None
        if user.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._end(user, "refused")
            return
        self._selector.modify(user.socket, selectors.EVENT_READ, user)
        self._ask(user, self._now())

    def _ask(self, user: _User, now: float) -> None:
        assert user.socket is not None
        user.asked_at = now
        try:
            user.socket.send(b"ping\n")
        except OSError:
            self._end(user, "reset")

    def _hear(self, user: _User) -> None:
        assert user.socket is not None
        try:
            received = user.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            self._end(user, "reset")
            return
        if not received:
            self._end(user, "closed")
            return
        user.received += received
        if user.received.endswith(b"\n"):
            now = self._now()
            with self._lock:
                assert user.current is not None
                user.current.answered = now
                user.current.task = user.received.partition(b" ")[0].decode(errors="replace")
            user.received, user.asked_at, user.ask_at = b"", None, now + self._every

    def _end(self, user: _User, how: How) -> None:
        now = self._now()
        if user.socket is not None:
            self._selector.unregister(user.socket)
            user.socket.close()
        with self._lock:
            assert user.current is not None
            user.current.ended, user.current.how = now, how
            user.past.append(user.current)
            user.current = None
        user.socket = user.asked_at = None
        user.ask_at = now + self._every if how == "refused" else now

    def _rows(self) -> Iterator[dict[str, Any]]:
        for each in self.connections:
            yield {
                "t": each.began,
                "ended": each.ended,
                "how": each.how,
                "task": each.task,
                "answered": each.answered,
            }
