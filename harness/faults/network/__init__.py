"""Faults of the network: between places on the fabric, by plane and by direction."""

from harness.faults.network.cuts import MtuBlackHole, NetworkCut, NetworkFlapping, NetworkLoss
from harness.faults.network.group import NetworkFaults
from harness.faults.network.inside import (
    ConnectionsReset,
    ConntrackFlushed,
    FirewallRulesLost,
    NeighboursForgotten,
)
from harness.faults.network.shaped import (
    NetworkCorrupt,
    NetworkDelay,
    NetworkDuplicate,
    NetworkImpaired,
    NetworkLossBursts,
    NetworkLossStates,
    NetworkRate,
    NetworkReorder,
)

__all__ = [
    "ConnectionsReset",
    "ConntrackFlushed",
    "FirewallRulesLost",
    "MtuBlackHole",
    "NeighboursForgotten",
    "NetworkCorrupt",
    "NetworkCut",
    "NetworkDelay",
    "NetworkDuplicate",
    "NetworkFaults",
    "NetworkFlapping",
    "NetworkImpaired",
    "NetworkLoss",
    "NetworkLossBursts",
    "NetworkLossStates",
    "NetworkRate",
    "NetworkReorder",
]
