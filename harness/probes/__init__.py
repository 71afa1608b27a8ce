"""Probes: what samples a swarm without disturbing it more than it must."""

from harness.probes.allocation import Allocation, allocation
from harness.probes.api import Api, Asked
from harness.probes.asking import Attempt, Cell
from harness.probes.containers import PRE_STOP, Containers, Life
from harness.probes.discovery import Discovery, Found, Place
from harness.probes.forwarding import Forwarding
from harness.probes.gossip import Gossip
from harness.probes.leadership import Leadership, View, views_in
from harness.probes.logs import PATTERNS, DockerdLogs, Line
from harness.probes.logwriters import LogWriters, Written
from harness.probes.membership import Change
from harness.probes.memory import MIB, Held, Memory
from harness.probes.reachability import Outage, Reachability, listening
from harness.probes.shared_file import SharedFile, Together, Write
from harness.probes.staleness import Stretch
from harness.probes.tasks import State, Tasks, Twins
from harness.probes.trend import Trend, trend_of

__all__ = [
    "MIB",
    "PATTERNS",
    "PRE_STOP",
    "Allocation",
    "Api",
    "Asked",
    "Attempt",
    "Cell",
    "Change",
    "Containers",
    "Discovery",
    "DockerdLogs",
    "Forwarding",
    "Found",
    "Gossip",
    "Held",
    "Leadership",
    "Life",
    "Line",
    "LogWriters",
    "Memory",
    "Outage",
    "Place",
    "Reachability",
    "SharedFile",
    "State",
    "Stretch",
    "Tasks",
    "Together",
    "Trend",
    "Twins",
    "View",
    "Write",
    "Written",
    "allocation",
    "listening",
    "trend_of",
    "views_in",
]
