"""A node's bridge of one overlay network, which everything in that network passes there."""

from __future__ import annotations

from pyroute2 import IPRoute

from harness.lab import Node
from harness.probes.forwarding import overlay_of
from harness.probes.sampling.netns import NetworkNamespace, from_a_thread

_BRIDGE = "br0"


def take_bridge_down(node: Node, network: str) -> None:
    """Set a node's bridge of a network (id) down: its neighbours reach it in other networks only.

    Raises :class:`~harness.errors.LabError` if the node is not in the network.
    """
    namespace = NetworkNamespace(overlay_of(node, network))

    def set_down() -> None:
        with namespace.entered(), IPRoute() as route:
            [index] = route.link_lookup(ifname=_BRIDGE)
            route.link("set", index=index, state="down")

    try:
        from_a_thread(set_down)
    finally:
        namespace.close()
