"""What a bench yields: named values with a unit, each a median."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError


@dataclass(frozen=True)
class Metric:
    """One metric; ``unit`` as in a measure (``s``, ``MiB``, ``1``)."""

    name: str
    value: float
    unit: str


def median_of(name: str, values: Sequence[float], unit: str) -> Metric:
    """Return the median of repeated measurements, to four significant digits.

    Raises :class:`UsageError` when nothing was measured.
    """
    if not values:
        raise UsageError(f"{name}: nothing was measured", hint="measure at least once")
    return Metric(name, float(f"{statistics.median(values):.4g}"), unit)


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
