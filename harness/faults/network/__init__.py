"""Faults of the network: between places on the fabric, by plane and by direction."""

from harness.faults.network.drop_faults import (
    MtuBlackHole,
    NetworkCut,
    NetworkFlapping,
    NetworkLoss,
)
from harness.faults.network.group import NetworkFaults
from harness.faults.network.node_stack_faults import (
    ConnectionsReset,
    ConntrackFlushed,
    FirewallRulesLost,
    NeighboursForgotten,
)
from harness.faults.network.queue_faults import (
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
