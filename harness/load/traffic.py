"""What traffic was like: statistics over requests, without any process or file.

Times are seconds of trial time. A share or a gap of no requests at all is None and not 0: it was
not measured, and a trial that relies on it is unknown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from harness.errors import LoadError, UsageError
from harness.load.outcome import CONNECTION_ERRORS, Outcome
from harness.load.timetable import Timetable

Connections = Literal["kept", "new"]
"""What a user does with its connection: it keeps it, or takes a new one for each request."""

DUE_GRAIN = 1e-5
"""Seconds by which a slot, rounded for the record, may lie before the stage it belongs to."""

LATE = 0.05
"""Seconds within which a user that is free and has a slot is expected to send."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as its line in ``samples/requests.jsonl`` has it.

    ``due`` is the slot of the timetable it was sent for. A user waits for its answer before it
    sends again and never catches up on slots it missed meanwhile, so ``t - due`` is how late the
    generator itself was. ``task`` and ``node`` are the answer's ``X-Task`` and ``X-Node``, "" if
    nobody answered. ``load`` numbers the loads of a trial from 1, ``user`` a load's users from 0.
    ``unresolved``: the balancer answered with an error, as it had no address for the name.
    """

    t: float
    took: float
    code: int
    outcome: Outcome
    entry: str
    task: str
    node: str
    due: float
    user: int
    load: int
    connection: Connections = "kept"
    unresolved: bool = False

    @property
    def done(self) -> float:
        """When the answer was complete, or it was clear that none would come."""
        return self.t + self.took


class Unasked(msgspec.Struct, frozen=True, kw_only=True):
    """A slot for which no request was sent: its user was still waiting for an earlier answer."""

    t: float
    entry: str
    user: int
    connection: Connections = "kept"

    @property
    def due(self) -> float:
        """When it was due, which is all that is known of it."""
        return self.t


class Requests:
    """Requests in the order of their start, and statistics over them.

    ``unasked`` are the slots beside them that were blocked; None while the load is running, when
    that is not known yet.
    """

    def __init__(
        self, requests: Iterable[Request], unasked: Iterable[Unasked] | None = None
    ) -> None:
        self.all: tuple[Request, ...] = tuple(sorted(requests, key=lambda r: (r.t, r.user)))
        self._unasked = None if unasked is None else tuple(unasked)

    @property
    def count(self) -> int:
        """How many requests there were, of any outcome."""
        return len(self.all)

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """How many requests had which outcome; outcomes that did not occur are left out."""
        return dict(sorted(Counter(r.outcome for r in self.all).items()))

    def share(self, *outcomes: Outcome) -> float | None:
        """Return the share (0 to 1) of requests with one of ``outcomes``.

        The total is all requests but those of outcome ``client``, which the swarm never saw. A
        hanging swarm gets fewer requests than a healthy one (a user waits for its answer): see
        :attr:`share_unserved`, in which what was not even asked counts as well.
        """
        return self._share(lambda request: request.outcome in outcomes)

    @property
    def share_lost(self) -> float | None:
        """The share of requests that were not answered properly, whatever came of them.

        Refused, reset, timed out, unreachable, answered with an error: what a user lost.
        :attr:`losses` says of which kinds that is the sum.
        """
        return self._share(lambda request: request.outcome != "ok")

    @property
    def losses(self) -> dict[str, float]:
        """:attr:`share_lost` by kind; every kind is there, those that did not occur with 0.

        ``name not found`` is a balancer's 50x for want of an address, ``50x`` any other.
        Empty without requests.
        """
        kinds = [(kind, self._share(is_of_kind)) for kind, is_of_kind in LOSSES.items()]
        return {kind: share for kind, share in kinds if share is not None}

    @property
    def share_unserved(self) -> float | None:
        """The share of time not served: of the timetable's slots, those lost or not even asked.

        A user that hangs for ten seconds is one request, and ten seconds. Slots are spread evenly
        over time, so of one entry this is the share of time in which it did not serve. None
        without slots. Raises :class:`LoadError` while the load is running.
        """
        if self._unasked is None:
            raise LoadError(
                "the load is still running: what it did not send is only known at its end",
                hint="ask after the with block",
            )
        asked = [r for r in self.all if r.outcome != "client"]
        slots = len(asked) + len(self._unasked)
        lost = sum(r.outcome != "ok" for r in asked) + len(self._unasked)
        return lost / slots if slots else None

    def unserved_by_entry(self) -> dict[str, float]:
        """:attr:`share_unserved` of each entry that was to be asked."""
        shares = ((entry, self.of_entry(entry).share_unserved) for entry in self.entries)
        return {entry: share for entry, share in shares if share is not None}

    @property
    def share_of_50x(self) -> float | None:
        """The share of requests answered with a 5xx code."""
        return self.share("5xx")

    @property
    def share_of_errors(self) -> float | None:
        """The share of requests nobody answered: refused, reset, timed out, unreachable."""
        return self.share(*CONNECTION_ERRORS)

    def window(self, t0: float, t1: float) -> Requests:
        """Return the requests started at ``t0`` (trial seconds) or later and before ``t1``."""
        return self._where(lambda each: t0 <= each.t < t1)

    def due_in(self, t0: float, t1: float) -> Requests:
        """Return the requests that were due at ``t0`` (trial seconds) or later and before ``t1``.

        However late they were sent, they belong to the load of that time.
        """
        return self._where(lambda each: t0 <= each.due + DUE_GRAIN < t1)

    def of_entry(self, entry: str) -> Requests:
        """Return the requests sent to the node ``entry``."""
        return self._where(lambda each: each.entry == entry)

    def elsewhere(self, entry: str) -> Requests:
        """Return the requests sent to any node but ``entry``."""
        return self._where(lambda each: each.entry != entry)

    def over(self, connections: Connections) -> Requests:
        """Return the requests over ``"kept"`` connections, or over ``"new"`` ones."""
        return self._where(lambda each: each.connection == connections)

    @property
    def entries(self) -> tuple[str, ...]:
        """The entry nodes that were asked or were to be, sorted."""
        unasked = {each.entry for each in self._unasked or ()}
        return tuple(sorted(unasked | {r.entry for r in self.all}))

    def longest_gap(self, entry: str | None = None) -> float | None:
        """Return the longest time, in seconds, in which no success came in.

        Watched from the start of the first request to the end of the last one, of ``entry`` or,
        without one, of all entries taken together (the service is reachable if any entry is). A
        success comes in when its answer is complete. In a healthy swarm this is about the time
        between two requests, which is also how exact it is (:attr:`Traffic.resolution`). Requests
        of outcome ``client`` count for nothing. None without requests.
        """
        watched = self if entry is None else self.of_entry(entry)
        seen = [r for r in watched.all if r.outcome != "client"]
        unasked = [each.t for each in watched._unasked or ()]
        if not seen and not unasked:
            return None
        successes = sorted(r.done for r in seen if r.outcome == "ok")
        first = min(*(r.t for r in seen), *unasked, math.inf)
        last = max(*(r.done for r in seen), *unasked, first)
        return max(later - earlier for earlier, later in pairwise([first, *successes, last]))

    def gaps_by_entry(self) -> dict[str, float]:
        """:meth:`longest_gap` of each entry that was asked."""
        gaps = ((entry, self.longest_gap(entry)) for entry in self.entries)
        return {entry: gap for entry, gap in gaps if gap is not None}

    def latency(self, percent: float) -> float | None:
        """Return a percentile of the time, in seconds, that successes took (nearest rank).

        Only successes: a refused connection is quick, and no latency. None without any. Raises
        :class:`UsageError` for a percentage outside 0 to 100.
        """
        if not 0 < percent <= 100:
            raise UsageError(
                f"{percent:g} is not a valid percentile: give a number above 0, at most 100"
            )
        took = sorted(r.took for r in self.all if r.outcome == "ok")
        if not took:
            return None
        return took[math.ceil(percent / 100 * len(took)) - 1]

    def _share(self, counts: Callable[[Request], bool]) -> float | None:
        seen = [r for r in self.all if r.outcome != "client"]
        return sum(map(counts, seen)) / len(seen) if seen else None

    def _where(self, wanted: Callable[[Request | Unasked], bool]) -> Requests:
        unasked = None if self._unasked is None else filter(wanted, self._unasked)
        return Requests(filter(wanted, self.all), unasked)

    @property
    def p50(self) -> float | None:
        """The median latency of successes, in seconds."""
        return self.latency(50)

    @property
    def p99(self) -> float | None:
        """The 99th percentile of the latency of successes, in seconds."""
        return self.latency(99)


LOSSES: dict[str, Callable[[Request], bool]] = {
    "50x": lambda r: r.outcome == "5xx" and not r.unresolved,
    "name not found": lambda r: r.outcome == "5xx" and r.unresolved,
    "refused": lambda r: r.outcome == "refused",
    "reset": lambda r: r.outcome == "reset",
    "timed out": lambda r: r.outcome == "timeout",
    "unreachable": lambda r: r.outcome == "unreachable",
    "wrong": lambda r: r.outcome == "4xx",
}
"""The kinds of loss, each with its test; every request that is not ``ok`` is of exactly one."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where the requests of the timetable went: ``scheduled = sent + blocked + unsent``.

    ``blocked``: not sent because the user was still waiting for an earlier answer, which is the
    swarm's doing. ``unsent``: the user was free and did not send, which is the generator's.
    ``client`` is how many of those sent failed in the generator itself. ``latest`` is by how many
    seconds the generator was late at worst; ``longest_stall`` is the longest time in seconds its
    event loop did not turn.
    """

    scheduled: int
    sent: int
    blocked: int
    unsent: int
    client: int
    latest: float
    longest_stall: float

    @property
    def share_unsent(self) -> float:
        """The share of the timetable that failed on the generator's side."""
        return (self.unsent + self.client) / self.scheduled if self.scheduled else 0.0

    def doubts(self) -> list[str]:
        """Return reasons to doubt what this load says about the swarm, as sentences."""
        found = []
        if self.longest_stall > MOST_STALL:
            found.append(
                f"the load generator stalled for {self.longest_stall:.1f} s"
                f" (allowed: {MOST_STALL:g} s)"
            )
        if self.share_unsent > MOST_UNSENT:
            found.append(
                f"the load generator could not send {self.share_unsent:.1%} of its schedule"
                f" (allowed: {MOST_UNSENT:.0%}): {self.unsent} never sent and {self.client}"
                f" failed in the client, of {self.scheduled}"
            )
        return found


MOST_STALL = 1.0
"""Seconds the generator may stand still before its figures are in doubt."""

MOST_UNSENT = 0.01
"""The share of the timetable the generator may fail to send before its figures are in doubt."""


Fate = Literal["sent", "blocked", "unsent"]


def account(
    requests: Sequence[Request],
    timetable: Timetable,
    *,
    begun: float,
    stopped: float,
    stalls: Iterable[float] = (),
    since: float = -math.inf,
    until: float = math.inf,
) -> Account:
    """Compare what was sent with the timetable; see :func:`fates`.

    ``stalls`` are the event loop's stalls, in seconds. Only what was due at ``since`` (trial
    seconds) or later and before ``until`` is counted.
    """
    slots = fates(requests, timetable, begun=begun, stopped=stopped)
    counts = Counter(fate for _, due, fate in slots if since <= due + DUE_GRAIN < until)
    requests = [r for r in requests if since <= r.due + DUE_GRAIN < until]
    return Account(
        scheduled=counts.total(),
        sent=counts["sent"],
        blocked=counts["blocked"],
        unsent=counts["unsent"],
        client=sum(r.outcome == "client" for r in requests),
        latest=max((r.t - r.due for r in requests), default=0.0),
        longest_stall=max(stalls, default=0.0),
    )


def fates(
    requests: Sequence[Request], timetable: Timetable, *, begun: float, stopped: float
) -> Iterator[tuple[int, float, Fate]]:
    """Return every slot of the timetable: its user, when it was due, and what became of it.

    ``begun`` and ``stopped`` are the trial times between which the timetable held; slots so
    shortly before ``stopped`` that a prompt user could have missed them are left out.
    """
    by_user: dict[int, list[Request]] = {}
    for request in sorted(requests, key=lambda r: r.due):
        by_user.setdefault(request.user, []).append(request)
    slack = min(LATE, 0.5 / timetable.per_user)
    for user in range(timetable.users):
        ahead = iter(by_user.get(user, ()))
        following = next(ahead, None)
        free_at = -math.inf  # since when the user waits for no answer
        busy_from = math.inf  # since when it waited for the latest one
        until = stopped - begun - LATE
        for slot in timetable.slots(user, until):
            due = begun + slot
            if following is not None and following.due <= due + 1e-4:
                yield user, due, "sent"
                busy_from, free_at = following.t, following.done
                following = next(ahead, None)
            elif busy_from <= due <= free_at + slack:
                yield user, due, "blocked"
            else:
                yield user, due, "unsent"
        while following is not None:
            yield user, following.due, "sent"
            following = next(ahead, None)
