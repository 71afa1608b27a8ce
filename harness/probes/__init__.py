"""Probes: what samples a swarm without disturbing it more than it must."""

from harness.probes.leadership import Leadership, View, views_in
from harness.probes.logwriters import LogWriters, Written
from harness.probes.memory import MIB, Held, Memory
from harness.probes.trend import Trend, trend_of

__all__ = [
    "MIB",
    "Held",
    "Leadership",
    "LogWriters",
    "Memory",
    "Trend",
    "View",
    "Written",
    "trend_of",
    "views_in",
]
