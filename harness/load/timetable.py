"""When each user's requests are due: fixed beforehand, whatever the swarm answers.

Nothing is random. In every stage the users that take part are spread evenly over the time
between two requests of one user, so the load as a whole ticks evenly and so does each entry's.
The last stage goes on until the load is stopped.

A timetable that answers do not move makes it visible what was not sent because an earlier
request hung ("coordinated omission"): the slot is there, the request is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

_SAME = 1e-7
"""Seconds: two times closer than this are one, the rest is floating point."""


class Stage(msgspec.Struct, frozen=True):
    """``users`` users for ``seconds`` seconds."""

    seconds: float
    users: int


class Timetable(msgspec.Struct, frozen=True):
    """Slots in seconds since the load began; ``per_user`` is requests a second, of each user."""

    stages: tuple[Stage, ...]
    per_user: float

    @property
    def users(self) -> int:
        """The largest number of users at any time; users are numbered from 0."""
        return max(stage.users for stage in self.stages)

    def next_slot(self, user: int, after: float) -> float | None:
        """Return the first slot of ``user`` later than ``after``; None if there is none left."""
        for start, end, users in self._spans():
            if user >= users or end <= after + _SAME:
                continue
            phase = user / users
            number = max(0, math.floor((after - start) * self.per_user - phase))
            while (slot := start + (phase + number) / self.per_user) <= after + _SAME:
                number += 1
            if slot < end - _SAME:
                return slot
        return None

    def slots(self, user: int, until: float) -> Iterator[float]:
        """Return the slots of ``user`` from the beginning up to (and without) ``until``."""
        after = -1.0
        while (slot := self.next_slot(user, after)) is not None and slot < until:
            yield slot
            after = slot

    def _spans(self) -> Iterator[tuple[float, float, int]]:
        start = 0.0
        for number, stage in enumerate(self.stages, start=1):
            end = math.inf if number == len(self.stages) else start + stage.seconds
            yield start, end, stage.users
            start = end
