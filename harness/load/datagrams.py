"""A flow of datagrams from one source port, as of a media stream, a game or a syslog client.

To a load balancer and to connection tracking it is one connection that never ends, so what they
remember of a task that is gone swallows it (moby#36878, moby#35135).
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.load.client_thread import ClientThread, Opener, family_of
from harness.trial import Trial
from harness.wait import Elapsed, Moment, NotYet, monotonic_moment, time_until, trial_moment

#: Seconds for the answer to the datagram that was sent last, just before the end.
_LAST_ANSWERED_WITHIN = 1.0


@dataclass(frozen=True)
class Sent:
    """A datagram: when it was sent (trial s), when answered (None: not), and by which task."""

    t: float
    answered: float | None = None
    task: str = ""


class Datagrams(ClientThread):
    """Sends numbered datagrams to the echo program while the ``with`` block lasts.

    ::

        with Datagrams(client.network.call, (node.address, 9007), trial) as flow:
            web.redeploy("echo")
        measure(GAP, flow.longest_gap())

    ``every`` is the time between two, in seconds. ``source_port`` None: the kernel chooses one,
    which is kept all the same.
    """

    def __init__(
        self,
        via: Opener,
        to: tuple[str, int],
        trial: Trial,
        *,
        every: float = 0.25,
        source_port: int | None = None,
        name: str = "datagrams",
    ) -> None:
        super().__init__(name, trial)
        self._via = via
        self._to = to
        self._every = every
        self._source_port = source_port or 0
        self._sent: list[Sent] = []

    @property
    def sent(self) -> list[Sent]:
        """All datagrams so far, in order."""
        with self._lock:
            return list(self._sent)

    @property
    def tasks(self) -> set[str]:
        """The tasks that answered."""
        return {each.task for each in self.sent if each.task}

    def share_lost(self, *, since: Moment = 0.0) -> float | None:
        """Return the share of datagrams that were not answered; None if none was sent."""
        asked = [each for each in self.sent if each.t >= trial_moment(since)]
        return sum(each.answered is None for each in asked) / len(asked) if asked else None

    def longest_gap(self, *, since: Moment = 0.0) -> Elapsed | None:
        """Return the longest time between the sending of two datagrams that were answered.

        From the first datagram (or ``since``, in trial seconds) on. ``reached`` False: it went on
        to the end. None if none was sent.
        """
        asked = [each for each in self.sent if each.t >= trial_moment(since)]
        if not asked:
            return None
        times = [asked[0].t, *(each.t for each in asked if each.answered is not None)]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        still = asked[-1].t - times[-1]
        if still > max([self._every, *gaps]):
            return Elapsed(round(still, 6), reached=False, last="it went on to the end")
        return Elapsed(round(max(gaps, default=0.0), 6), reached=True)

    def time_to_answer(self, *, within: float, since: Moment | None = None) -> Elapsed:
        """Measure the time until a datagram that was sent from then on has been answered."""
        began = time.monotonic() if since is None else monotonic_moment(since)
        after = self._trial.clock.at(began)

        def answered() -> bool | NotYet:
            found = [each for each in self.sent if each.t >= after]
            ok = any(each.answered is not None for each in found)
            return ok or NotYet(f"{len(found)} datagrams without an answer")

        return time_until(answered, state="an answer", within=within, every=0.1, since=began)

    # -- within --------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._via(self._open) as flow:
            due = time.monotonic()
            while not self._stop.is_set():
                with suppress(OSError):  # refused by the one before, or no route: not answered
                    flow.send(b"%d\n" % len(self._sent))
                with self._lock:
                    self._sent.append(Sent(self._now()))
                due = max(due + self._every, time.monotonic())
                while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
                    if select.select([flow], [], [], left)[0]:
                        self._read(flow)
            ends = time.monotonic() + max(self._every, _LAST_ANSWERED_WITHIN)
            while self._unanswered() and (left := ends - time.monotonic()) > 0:
                if select.select([flow], [], [], left)[0]:
                    self._read(flow)

    def _unanswered(self) -> bool:
        """Return whether the last one, which was sent just now, has no answer yet."""
        with self._lock:
            return bool(self._sent) and self._sent[-1].answered is None

    def _open(self) -> socket.socket:
        made = socket.socket(family_of(self._to[0]), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            made.setblocking(False)
            made.bind(("", self._source_port))
            made.connect(self._to)
        except BaseException:
            made.close()
            raise
        return made

    def _read(self, flow: socket.socket) -> None:
        with suppress(OSError):
            while True:
                task, _, number = flow.recv(4096).decode(errors="replace").rpartition(" ")
                with suppress(ValueError, IndexError), self._lock:
                    before = self._sent[int(number)]
                    self._sent[int(number)] = Sent(before.t, self._now(), task)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for each in self.sent:
            yield {"t": each.t, "answered": each.answered, "task": each.task}
