"""Whether a member of the swarm is listed as ready, looked at once a second."""

from __future__ import annotations

import time

from harness.lab import Node
from harness.swarm import Swarm


def times_not_ready(swarm: Swarm, node: Node, *, until: float, every: float = 1.0) -> int:
    """Return how many looks, ``every`` seconds until a monotonic time, found a node not ready.

    Raises :class:`~harness.swarm.NoAnswer` when no manager answers.
    """
    found = 0
    while time.monotonic() < until:
        found += swarm.member(node).state != "ready"
        time.sleep(every)
    return found
