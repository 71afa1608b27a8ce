"""A generator's plan: one JSON object in one environment variable."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from harness.load.timetable import Timetable
from harness.load.traffic import Connections

PLAN_VARIABLE = "SWARM_CHAOS_LOAD"
"""The environment variable a generator finds its plan in."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All a generator needs. ``origin`` is the trial clock's, ``timeout`` is in seconds.

    ``entries`` are (node name, base URL) in the order in which users are given to them;
    ``connections`` are the kinds that the users of one entry take in turn.
    ``requests`` and ``events`` are the files it appends to: its requests, and what befell the
    generator itself (:class:`Event`).
    """

    load: int
    origin: float
    timetable: Timetable
    entries: tuple[tuple[str, str], ...]
    connections: tuple[Connections, ...]
    path: str
    timeout: float
    requests: str
    events: str

    def entry_of(self, user: int) -> tuple[str, str]:
        """Return the (node name, base URL) that ``user`` asks, always the same: round robin."""
        return self.entries[user % len(self.entries)]

    def connections_of(self, user: int) -> Connections:
        """Return whether ``user`` keeps its connection: at each entry all kinds take turns."""
        return self.connections[user // len(self.entries) % len(self.connections)]

    def users_per_entry(self) -> dict[str, int]:
        """Return how many users ask which node when all take part."""
        counts = dict.fromkeys((name for name, _ in self.entries), 0)
        for user in range(self.timetable.users):
            counts[self.entry_of(user)[0]] += 1
        return counts

    def resolution(self) -> float:
        """Return the longest time in seconds between two requests of one kind due at one entry.

        The worst of all entries and kinds and stages. A gap is known to within this: what begins
        and ends between two requests is not seen.
        """
        return max(
            spacing / self.timetable.per_user
            for stage in self.timetable.stages
            for spacing in self._spacings(stage.users)
        )

    def _spacings(self, users: int) -> list[float]:
        """For each entry and kind with users, their widest spacing, as a share of a period."""
        phases: dict[tuple[str, Connections], list[float]] = {}
        for user in range(users):
            whom = self.entry_of(user)[0], self.connections_of(user)
            phases.setdefault(whom, []).append(user / users)
        return [max(b - a for a, b in pairwise([*at, at[0] + 1])) for at in phases.values()]


class LocustFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Locust's own figures, over all requests whatever came of them; times are in seconds.

    Locust rounds response times to two digits and counts everything but an exception as a
    success: these figures are recorded beside the harness's own, and nothing is judged by them.
    """

    requests: int
    failures: int
    per_second: float
    average: float
    median: float
    p95: float
    p99: float
    longest: float


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of ``samples/generator.jsonl``: what happened to the generator itself.

    ``begun``: from ``t`` on the timetable holds. ``stall``: at ``t`` the event loop turned again,
    ``seconds`` late. ``stopping``: after ``t`` no request was started. ``ended``: all was written;
    ``requests`` is Locust's own count, ``cpu`` the processor seconds used since ``begun``, and
    ``locust`` what Locust's own statistics say of the whole load (:class:`LocustFigures`).
    """

    t: float
    kind: str
    load: int
    seconds: float = 0.0
    requests: int = 0
    cpu: float = 0.0
    locust: LocustFigures | None = None
