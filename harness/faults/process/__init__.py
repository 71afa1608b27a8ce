"""Faults of processes: signals, restarts, other engines over the same state, membership."""

from __future__ import annotations

from dataclasses import dataclass

from harness.faults.factory import made_by
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
from harness.trial import Trial


@dataclass(frozen=True)
class ProcessFaults:
    """``faults.process``: processes of nodes, engines over the same state, members of a swarm.

    ::

        with faults.process.signal_dockerd(swarm.leader, "ABRT"):
            ...
    """

    trial: Trial

    signal_dockerd = made_by(DockerdSignalled)
    pause_dockerd = made_by(DockerdPaused)
    pause_node = made_by(NodePaused)
    kill_containerd = made_by(ContainerdKilled)
    kill_task = made_by(TaskKilled)
    kill_shim = made_by(ShimKilled)
    flap_tasks = made_by(TaskFlapping)
    restart_dockerd = made_by(DockerdRestarted)
    change_engine = made_by(EngineChanged)
    cut_power = made_by(PowerCut)
    drain = made_by(NodeDrained)
    demote = made_by(NodeDemoted)
    promote = made_by(NodePromoted)
    leave = made_by(NodeLeft)
    rotate_root = made_by(RootRotated)


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
