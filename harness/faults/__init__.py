"""Faults: injected, proven, healed, and recorded."""

from harness.faults.fault import Fault
from harness.faults.faults import Faults
from harness.faults.kill import DockerdKilled, NodeKilled

__all__ = ["DockerdKilled", "Fault", "Faults", "NodeKilled"]
