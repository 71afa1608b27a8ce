"""Plain containers beside the swarm: made by `docker run` on one node, on an attachable network.

They are no tasks: no manager replaces them, their node's dockerd restarts them by their own policy,
and each start needs a manager to attach them (moby#32607, moby#40402).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
from docker.errors import DockerException

from harness.errors import LabError
from harness.lab import Node
from harness.swarm import APP_IMAGE
from harness.wait import Elapsed, Moment, NotYet, time_until

#: Seconds that a start may wait for a manager to attach it (moby daemon/cluster: 20 s), and more.
_STARTED_WITHIN = 60

_TROUBLE = (DockerException, requests.exceptions.RequestException, LabError, OSError)


@dataclass(frozen=True)
class PlainContainer:
    """A container on a node; :func:`run_plain` makes one."""

    node: Node
    id: str

    def running(self) -> bool | NotYet:
        """Return whether it runs on its network; a :class:`NotYet` says what its node says."""
        try:
            found = self.node.docker.api.inspect_container(self.id)
        except _TROUBLE as error:
            return NotYet(f"{self.node.name} does not say: {error}")
        state = found["State"]
        attached = any(
            network.get("IPAddress") for network in found["NetworkSettings"]["Networks"].values()
        )
        if state["Running"] and attached:
            return True
        said = state.get("Error") or "no error"
        return NotYet(f"it is {state['Status']}, restarted {found['RestartCount']} times: {said}")

    def time_to_running(self, *, within: float, since: Moment | None = None) -> Elapsed:
        """Measure the time until it runs; ``since`` is a fault or a monotonic reading."""
        return time_until(
            self.running, state="the container to run", within=within, every=0.2, since=since
        )

    def restart(self) -> str:
        """Restart it, as `docker restart` does; return why it was refused, "" if it was not."""
        client = self.node.client(timeout=_STARTED_WITHIN)
        try:
            client.api.restart(self.id, timeout=1)
        except _TROUBLE as error:
            return str(error)
        finally:
            client.close()
        return ""

    def remove(self) -> None:
        """Remove it."""
        self.node.docker.api.remove_container(self.id, force=True)


def run_plain(node: Node, network: str, *, restart: str = "always") -> PlainContainer:
    """Run the app as a plain container on a node, on an attachable network (id).

    Raise :class:`LabError` with the engine's words if it is refused.
    """
    client = node.client(timeout=_STARTED_WITHIN)
    api: Any = client.api
    try:
        made = str(
            api.create_container(
                APP_IMAGE,
                networking_config=api.create_networking_config(
                    {network: api.create_endpoint_config()}
                ),
                host_config=api.create_host_config(
                    network_mode=network, restart_policy={"Name": restart}
                ),
            )["Id"]
        )
        api.start(made)
    except _TROUBLE as error:
        raise LabError(f"{node.name} runs no container on the network: {error}") from error
    finally:
        client.close()
    return PlainContainer(node, made)
