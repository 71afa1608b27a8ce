"""A generator's plan: one JSON object in one environment variable."""

from __future__ import annotations

import msgspec

from harness.load.timetable import Timetable

PLAN_VARIABLE = "SWARM_CHAOS_LOAD"
"""The environment variable a generator finds its plan in."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All a generator needs. ``origin`` is the trial clock's, ``timeout`` is in seconds.

    ``entries`` are (node name, base URL) in the order in which users are given to them.
    ``requests`` and ``events`` are the files it appends to: its requests, and what befell the
    generator itself (:class:`Event`).
    """

    load: int
    origin: float
    timetable: Timetable
    entries: tuple[tuple[str, str], ...]
    path: str
    timeout: float
    requests: str
    events: str

    def entry_of(self, user: int) -> tuple[str, str]:
        """Return the (node name, base URL) that ``user`` asks, always the same: round robin."""
        return self.entries[user % len(self.entries)]

    def users_per_entry(self) -> dict[str, int]:
        """Return how many users ask which node when all take part."""
        counts = dict.fromkeys((name for name, _ in self.entries), 0)
        for user in range(self.timetable.users):
            counts[self.entry_of(user)[0]] += 1
        return counts


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of ``samples/generator.jsonl``: what happened to the generator itself.

    ``begun``: from ``t`` on the timetable holds. ``stall``: at ``t`` the event loop turned again,
    ``seconds`` late. ``stopping``: after ``t`` no request was started. ``ended``: all was written;
    ``requests`` is Locust's own count, ``cpu`` the processor seconds used since ``begun``.
    """

    t: float
    kind: str
    load: int
    seconds: float = 0.0
    requests: int = 0
    cpu: float = 0.0
