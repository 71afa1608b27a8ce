"""The trial's own clock: seconds since the trial began, on the monotonic clock.

Every process of a trial can compute the same times, because the monotonic clock is one per
kernel: a child is given ``origin`` and subtracts it. In a guest with a virtual clock the
kernel's monotonic clock is itself virtual, so nothing here needs to know.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrialClock:
    """Seconds since ``origin`` (a reading of ``time.monotonic``), to the microsecond."""

    origin: float = field(default_factory=time.monotonic)
    monotonic: Callable[[], float] = time.monotonic

    def now(self) -> float:
        """Return the seconds since the trial began, rounded to a microsecond."""
        return self.at(self.monotonic())

    def at(self, monotonic: float) -> float:
        """Return a reading of ``time.monotonic`` as trial time."""
        return round(monotonic - self.origin, 6)
