"""Who holds a published port: what the swarm says, what each node's kernel says, and a stranger."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from harness.errors import LabError
from harness.lab import Node
from harness.probes.reachability import listening
from harness.swarm import Deployment


def announced_ports(deployment: Deployment, service: str) -> list[int]:
    """Return the published ports that a manager lists for a service.

    Raises :class:`~harness.swarm.NoAnswer` when no manager answers.
    """
    service_id = deployment.services[service]
    found = deployment.swarm.ask(lambda api: api.api.inspect_service(service_id))
    return [port["PublishedPort"] for port in found["Endpoint"].get("Ports") or ()]


def nodes_not_listening(nodes: Iterable[Node], port: int) -> list[str]:
    """Return the names of the nodes on which nothing listens on a TCP port."""
    return [node.name for node in nodes if port not in listening(node)]


@contextmanager
def port_taken(node: Node, port: int) -> Iterator[None]:
    """Hold a TCP port of a node for the length of the block, as a program of its owner would.

    Nobody accepts the connections. Raises :class:`LabError` if somebody holds the port already.
    """
    try:
        holder = node.here.network.call(lambda: socket.create_server(("0.0.0.0", port)))
    except OSError as error:
        raise LabError(f"port {port} of {node.name} cannot be taken: {error.strerror}") from error
    with holder:
        yield
