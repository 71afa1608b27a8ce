"""A place to look from: on each node, for each network, a container that does nothing.

The embedded DNS answers inside a container and nowhere else, and an overlay network is reached
only from a member. A watcher is a plain container on the attachable network, no task of the
swarm: it does not come and go with what is watched. When a node's dockerd has lost it (a killed
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

#: Seconds between two looks for watchers that are lost.
_LOOK = 1.0

#: Seconds that a worker waits for its manager to attach it (moby daemon/cluster, 20 s), and more.
_ATTACHED_WITHIN = 30

_TROUBLE = (DockerException, requests.exceptions.RequestException, LabError, OSError)


class VantageContainer:
    """One container on one node in one network; its network namespace is held open."""

    def __init__(self, node: Node, network: str, container: str, inhabitant: ProcHandle) -> None:
        self.node = node
        self.network = network
        self.container = container
        self._inhabitant = inhabitant
        self.namespace = NetworkNamespace(inhabitant.network)

    def __repr__(self) -> str:
        return f"<Watcher on {self.node.name} in {self.network}>"

    @property
    def alive(self) -> bool:
        """Whether its container lives: what is asked from a dead one says nothing."""
        return self._inhabitant.alive

    def close(self) -> None:
        """Let go of it; its container goes on."""
        self.namespace.close()
        self._inhabitant.close()


class VantageContainers:
    """Watchers on nodes in networks (name -> id), made by :meth:`start`, removed by :meth:`close`.

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
        """(node, network) of all watchers that there should be."""
        return [(node, network) for network in self._networks for node in self._nodes]

    def start(self) -> None:
        """Make them, all nodes at once; what cannot be made now is tried again until the end.

        Raises :class:`LabError` when not a single one could be made.
        """
        with ThreadPoolExecutor(max(1, len(self._nodes))) as pool:
            done = [pool.submit(self._make_on, node) for node in self._nodes.values()]
            errors = [error for each in done for error in each.result()]
        if errors and not self._there:
            raise LabError(f"no watcher could be made: {errors[0]}")
        self._keeper = threading.Thread(target=self._keep, name="watchers", daemon=True)
        self._keeper.start()

    def there(self) -> list[VantageContainer]:
        """Those whose containers live."""
        with self._lock:
            watchers = list(self._there.values())
        return [watcher for watcher in watchers if watcher.alive]

    def close(self) -> None:
        """Remove the containers, as far as their nodes answer."""
        self._stop.set()
        if self._keeper is not None:
            self._keeper.join(timeout=_ATTACHED_WITHIN)
        with self._lock:
            watchers = list(self._there.values())
            self._there = {}
        with ThreadPoolExecutor(max(1, len(self._nodes))) as pool:
            list(pool.map(_remove, watchers))
        for watcher in [*watchers, *self._retired]:
            watcher.close()
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
        watcher = self._there.get(place)
        return watcher is not None and watcher.alive

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
                watcher = VantageContainer(node, network, container, ProcHandle(node, pid))
            except BaseException:
                _discard(client, container)
                raise
        finally:
            client.close()
        with self._lock:
            self._there[node.name, network] = watcher


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


def _remove(watcher: VantageContainer) -> None:
    with suppress(*_TROUBLE):
        if watcher.node.up and watcher.node.dockerd.ping(timeout=1.0):
            _discard(watcher.node.docker, watcher.container)
