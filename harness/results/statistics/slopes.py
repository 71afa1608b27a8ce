"""How fast something grows: a slope that outliers do not turn, with its interval.

For memory: garbage collection makes a saw of it, so an end less a beginning says little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.theil_sen import theil_sen

BLOCKS = 40
"""Neighbouring samples resemble each other: of so many stretches of time each counts once."""

FEWEST = 8
"""Fewer stretches than this make no slope."""


@dataclass(frozen=True)
class Slope:
    """Units per second; ``low`` and ``high`` hold the true slope in 95 of 100 cases.

    ``points`` is how many stretches of time it stands on.
    """

    per_second: float
    low: float
    high: float
    points: int

    @property
    def grows(self) -> bool:
        """Whether it certainly grows."""
        return self.low > 0


def slope_of(times: Sequence[float], values: Sequence[float]) -> Slope | None:
    """Theil and Sen's slope over medians of stretches of equal length; None: too few samples.

    ``times`` in seconds, in any order. Samples in which something settles should be left out
    before.
    """
    if len(times) != len(values):
        raise ValueError(f"{len(times)} times and {len(values)} values")
    known = [(t, v) for t, v in zip(times, values, strict=True) if math.isfinite(t + v)]
    at = np.asarray([t for t, _ in known])
    value = np.asarray([v for _, v in known])
    if len(at) < FEWEST or not np.ptp(at) > 0:
        return None
    blocks = max(FEWEST, min(BLOCKS, len(at) // 3))
    which = np.minimum(((at - at.min()) / np.ptp(at) * blocks).astype(int), blocks - 1)
    there = np.unique(which)
    if len(there) < FEWEST:
        return None
    middle_at = np.asarray([np.median(at[which == block]) for block in there])
    middle = np.asarray([np.median(value[which == block]) for block in there])
    found = theil_sen(middle_at.tolist(), middle.tolist())
    return found and Slope(*found, points=len(there))
