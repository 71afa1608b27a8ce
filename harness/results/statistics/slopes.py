"""How fast something grows: a robust slope with its interval.

For memory: garbage collection makes it a sawtooth, so the difference of the ends says little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.theil_sen import theil_sen

BLOCKS = 40
"""Stretches of time that each count once, since neighbouring samples are correlated."""

FEWEST = 8
"""The fewest stretches that a slope is computed from."""


@dataclass(frozen=True)
class Slope:
    """Units per second; ``low`` and ``high`` are its 95 % interval.

    ``points`` is the number of stretches of time that it was computed from.
    """

    per_second: float
    low: float
    high: float
    points: int


def slope_of(times: Sequence[float], values: Sequence[float]) -> Slope | None:
    """Return the Theil-Sen slope over medians of equal stretches; None with too few samples.

    ``times`` are in seconds, in any order. Leave out samples taken while something settles.
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
