"""Vantage points: on each node, for each network, a container that does nothing.

The embedded DNS answers inside a container and nowhere else, and an overlay network is reached
only from a member. A vantage point is a plain container on the attachable network, no task of the
swarm: it does not come and go with what is observed. When a node's dockerd has lost it (a killed
dockerd's containers do not outlive its return), another one is made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import requests
from docker.errors import APIError, DockerException

from harness.errors import LabError
from harness.lab import Node
from harness.probes.sampling.netns import NetworkNamespace
from harness.probes.sampling.proc_handle import ProcHandle

#: It waits to be killed. Python without its site and user set-up starts ten times as fast.
_IDLE = ("/usr/bin/python3", "-I", "-S", "-c", "import signal\nwhile True: signal.pause()")
_IMAGE = "swarm-chaos/app:1"

#: The name server for what the swarm does not know: nobody answers there, and says so at once.
_NOBODY = "127.0.0.1"

#: Seconds between two checks for vantage points that are lost.
_LOOK = 1.0

#: Seconds that a worker waits for its manager to attach it (moby daemon/cluster, 20 s), and more.
_ATTACHED_WITHIN = 30

_TROUBLE = (DockerException, requests.exceptions.RequestException, LabError, OSError)


class VantageContainer:
    """One container on one node in one network; its network namespace is held open."""

    def __init__(self, node: Node, network: str, container: str, process: ProcHandle) -> None:
        self.node = node
        self.network = network
        self.container = container
        self._process = process
        self.namespace = NetworkNamespace(process.network)

    def __repr__(self) -> str:
        return f"<VantageContainer on {self.node.name} in {self.network}>"

    @property
    def alive(self) -> bool:
        """Whether its container runs: what is asked from a dead one says nothing."""
        return self._process.alive

    def close(self) -> None:
        """Let go of it; its container goes on."""
        self.namespace.close()
        self._process.close()


class VantageContainers:
    """Vantage points on nodes in networks (name -> id), from :meth:`start` to :meth:`close`.

    The networks must be attachable, as all of a deployment's are.
    """

    def __init__(self, nodes: Iterable[Node], networks: Mapping[str, str]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._networks = dict(networks)
        self._lock = threading.Lock()
        self._there: dict[tuple[str, str], VantageContainer] = {}
        self._retired: list[VantageContainer] = []
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def places(self) -> list[tuple[str, str]]:
        """(node, network) of all vantage points that there should be."""
        return [(node, network) for network in self._networks for node in self._nodes]

    def start(self) -> None:
        """Start them, all nodes at once; one that does not start is tried again until the end.

        Raise :class:`LabError` when not a single one could be started.
        """
        with ThreadPoolExecutor(max(1, len(self._nodes))) as pool:
            done = [pool.submit(self._make_on, node) for node in self._nodes.values()]
            errors = [error for each in done for error in each.result()]
        if errors and not self._there:
            raise LabError(f"no vantage container could be started: {errors[0]}")
        self._keeper = threading.Thread(target=self._keep, name="vantage-points", daemon=True)
        self._keeper.start()

    def there(self) -> list[VantageContainer]:
        """Return those whose containers run."""
        with self._lock:
            vantage_points = list(self._there.values())
        return [vantage for vantage in vantage_points if vantage.alive]

    def close(self) -> None:
        """Remove the containers, as far as their nodes answer."""
        self._stop.set()
        if self._keeper is not None:
            self._keeper.join(timeout=_ATTACHED_WITHIN)
        with self._lock:
            vantage_points = list(self._there.values())
            self._there = {}
        with ThreadPoolExecutor(max(1, len(self._nodes))) as pool:
            list(pool.map(_remove, vantage_points))
        for vantage in [*vantage_points, *self._retired]:
            vantage.close()
        self._retired = []

    # -- within --------------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._stop.wait(_LOOK):
            with self._lock:
                lost = [place for place in self.places if not self._lives(place)]
            for node, network in lost:
                if self._stop.is_set():
                    return
                with suppress(*_TROUBLE):
                    if self._nodes[node].up and self._nodes[node].dockerd.ping(timeout=1.0):
                        self._make(self._nodes[node], network)

    def _lives(self, place: tuple[str, str]) -> bool:
        vantage = self._there.get(place)
        return vantage is not None and vantage.alive

    def _make_on(self, node: Node) -> list[str]:
        errors = []
        for network in self._networks:
            try:
                self._make(node, network)
            except _TROUBLE as error:
                errors.append(f"{node.name}: {error}")
        return errors

    def _make(self, node: Node, network: str) -> None:
        client = node.client(timeout=_ATTACHED_WITHIN)
        try:
            with self._lock:
                before = self._there.pop((node.name, network), None)
                if before is not None:
                    self._retired.append(before)  # a sampler may be inside
            if before is not None:
                _discard(client, before.container)
            container = _run(client, self._networks[network])
            try:
                pid = client.api.inspect_container(container)["State"]["Pid"]
                vantage = VantageContainer(node, network, container, ProcHandle(node, pid))
            except BaseException:
                _discard(client, container)
                raise
        finally:
            client.close()
        with self._lock:
            self._there[node.name, network] = vantage


def _run(client: Any, network: str) -> str:
    api = client.api
    made = api.create_container(
        _IMAGE,
        entrypoint=list(_IDLE),
        command=[],
        networking_config=api.create_networking_config({network: api.create_endpoint_config()}),
        host_config=api.create_host_config(network_mode=network, dns=[_NOBODY]),
    )["Id"]
    try:
        api.start(made)
    except BaseException:
        _discard(client, made)
        raise
    return str(made)


def _discard(client: Any, container: str) -> None:
    with suppress(APIError):
        client.api.remove_container(container, force=True)


def _remove(vantage: VantageContainer) -> None:
    with suppress(*_TROUBLE):
        if vantage.node.up and vantage.node.dockerd.ping(timeout=1.0):
            _discard(vantage.node.docker, vantage.container)
