"""Faults: injected, proven, healed, and on record."""

from harness.faults.kill import DockerdKilled, Faults, NodeKilled
from harness.faults.life import Fault

__all__ = ["DockerdKilled", "Fault", "Faults", "NodeKilled"]
