"""Nodes that ask registries for their tasks' images, as engines do if nobody tells them not to."""

from __future__ import annotations

from collections.abc import Iterable

from harness.lab import Node
from harness.lab.dockerd import DEFAULTS
from harness.swarm import SwarmClient

#: Any other value than 1 (moby daemon/cluster/executor/container/controller.go).
_PULL = "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=0\n"

_WITHIN = 60.0


def have_tasks_pull(swarm: SwarmClient, nodes: Iterable[Node]) -> None:
    """Have nodes pull the image of each task before they start it, even one that they have.

    The lab's nodes do not, because there is no registry; so their dockerds are restarted. It holds
    for as long as a node has its files. Return when those that are members are ready again.
    """
    asked = list(nodes)
    for node in asked:
        node.run(["sh", "-c", 'cat >"$1"', "sh", DEFAULTS], stdin=_PULL.encode())
        node.dockerd.stop()
        node.start()
    swarm.wait_for_leader(within=_WITHIN)
    members = {member.name for member in swarm.members()}
    swarm.wait_for_ready([node for node in asked if node.name in members], within=_WITHIN)
