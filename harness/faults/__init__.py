"""Faults: injected, proven, healed, and on record."""

from harness.faults.fault import Fault
from harness.faults.faults import Faults
from harness.faults.group import FaultGroup
from harness.faults.kill import DockerdKilled, NodeKilled

__all__ = ["DockerdKilled", "Fault", "FaultGroup", "Faults", "NodeKilled"]
