"""Faults of processes: signals, restarts, other engines over the same state, membership."""

from harness.faults.process.group import ProcessFaults
from harness.faults.process.membership import (
    NodeDemoted,
    NodeDrained,
    NodeLeft,
    NodePromoted,
    RootRotated,
)
from harness.faults.process.restarts import DockerdRestarted, EngineChanged, PowerCut
from harness.faults.process.signals import (
    ContainerdKilled,
    DockerdPaused,
    DockerdSignalled,
    NodePaused,
)
from harness.faults.process.tasks import ShimKilled, TaskFlapping, TaskKilled

__all__ = [
    "ContainerdKilled",
    "DockerdPaused",
    "DockerdRestarted",
    "DockerdSignalled",
    "EngineChanged",
    "NodeDemoted",
    "NodeDrained",
    "NodeLeft",
    "NodePaused",
    "NodePromoted",
    "PowerCut",
    "ProcessFaults",
    "RootRotated",
    "ShimKilled",
    "TaskFlapping",
    "TaskKilled",
]
