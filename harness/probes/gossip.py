"""The members of a swarm's gossip as each dockerd sees them, and how often that changes.

Three sources, from the cheapest: the lines of dockerd's log, which tell every change to the
nanosecond; the peers of a network as each engine lists them, once a second while :meth:`watch`
lasts; and, on demand, NetworkDB's own diagnostic server and the kernel's forwarding entries.
"""

from __future__ import annotations

import json
import signal
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import OK, HTTPException
from pathlib import Path
from typing import Any

from harness.errors import LabError, UsageError
from harness.lab import Node
from harness.lab.client import UnixConnection
from harness.probes.containers import Containers
from harness.probes.forwarding import Forwarding, forwarding, wrong_forwarding
from harness.probes.gossip_log import LINE, Change, Kind, changes_of
from harness.probes.sampling.log_tail import LogTail
from harness.probes.sampling.threads import doubt_ended
from harness.probes.sampling.timestamps import to_trial_time
from harness.swarm import Deployment
from harness.trial import Trial
from harness.wait import (
    Elapsed,
    Moment,
    NotYet,
    monotonic_moment,
    time_until,
    trial_moment,
    wait_for,
)

#: Seconds between two looks at a network's peers.
EVERY = 1.0

#: Where NetworkDB's diagnostic server listens, on the node's loopback, once it is asked for.
_DIAGNOSTIC_PORT = 2000


class Gossip:
    """The probe. The logs can be read at any time; :meth:`watch` adds the networks' peers.

    ::

        with faults.network.isolate(worker, plane="gossip") as cut:
            failed = gossip.time_to("failed", worker, since=cut, within=30)
    """

    def __init__(self, nodes: Iterable[Node], containers: Containers, trial: Trial) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._names = {node.address: node.name for node in self._nodes.values()}
        self._logs = {n.name: LogTail(n.log, LINE) for n in self._nodes.values()}
        self._containers = containers
        self._trial = trial
        self._lock = threading.Lock()
        self._peers: dict[tuple[str, str], list[tuple[float, frozenset[str] | None]]] = {}
        self._networks: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- by the logs ---------------------------------------------------------------------------

    def changes(
        self,
        *kinds: Kind,
        by: Node | None = None,
        about: Node | None = None,
        since: Moment = 0.0,
        until: float | None = None,
    ) -> list[Change]:
        """Return what dockerds logged about each other, ``since`` to ``until`` in trial seconds."""
        began = trial_moment(since)
        logs = [(name, log.matches()) for name, log in self._logs.items()]
        found = changes_of(logs, self._names, to_trial_time=to_trial_time(self._trial.clock))
        return [
            change
            for change in found
            if (not kinds or change.kind in kinds)
            and (by is None or change.by == by.name)
            and (about is None or change.about == about.name)
            and change.t >= began
            and (until is None or change.t < until)
        ]

    def time_to(
        self, kind: Kind, about: Node, *, within: float, since: Moment, by: Node | None = None
    ) -> Elapsed:
        """Measure the time from ``since`` (monotonic) until some dockerd logged such a change."""
        start = self._trial.clock.at(monotonic_moment(since))

        def seen() -> bool | NotYet:
            found = self.changes(kind, about=about, by=by, since=start)
            return bool(found) or NotYet(f"no dockerd has logged {kind} about {about.name}")

        waited = time_until(
            seen, state=f"{about.name} {kind}", within=within, every=0.25, since=since
        )
        if not waited.reached:
            return waited
        first = self.changes(kind, about=about, by=by, since=start)[0]
        return Elapsed(round(first.t - start, 6), reached=True)

    # -- by the engines' lists of peers --------------------------------------------------------

    @contextmanager
    def watch(self, *deployments: Deployment, every: float = EVERY) -> Iterator[Gossip]:
        """Read the peers of the deployments' networks on every node while the block lasts."""
        self.start(*deployments, every=every)
        try:
            yield self
        finally:
            self.close()

    def start(self, *deployments: Deployment, every: float = EVERY) -> None:
        """Start reading the peers."""
        if self._thread is not None:
            raise UsageError("gossip is already being watched")
        for made in deployments:
            self._networks |= made.networks
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._sample, args=(every,), name="gossip", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop reading the peers."""
        if self._thread is not None:
            doubt_ended("gossip", [self._thread], self._trial)
            self._stop.set()
            self._thread.join(timeout=60.0)
            self._thread = None

    def save(self) -> None:
        """Stop, and write ``samples/gossip.jsonl``."""
        self.close()
        self._trial.write_samples("gossip", self._rows())

    def peers(self, node: Node, network: str) -> frozenset[str] | None:
        """Return the nodes that ``node`` sees in a network (id) now; None if it is not in it.

        Raise :class:`LabError` when its dockerd does not answer.
        """
        try:
            found = _get(node, f"/networks/{network}")
        except (OSError, ValueError, HTTPException) as error:
            raise LabError(f"the peers of {node.name} cannot be read: {error}") from error
        if not found or not found.get("Peers"):
            return None
        return frozenset(self._names.get(peer["IP"], peer["IP"]) for peer in found["Peers"])

    def wrong(self, *deployments: Deployment, nodes: Iterable[Node] | None = None) -> list[str]:
        """Return the members of a network that do not see each other, as sentences.

        A node is a member of a network as long as it has a task (or a vantage container) on it.
        """
        problems = []
        wanted = list(self._nodes.values()) if nodes is None else list(nodes)
        for made in deployments:
            for name, id_ in made.networks.items():
                views = {}
                for node in wanted:
                    try:
                        views[node.name] = self.peers(node, id_)
                    except LabError as error:
                        problems.append(error.what)
                members = {node for node, view in views.items() if view is not None}
                for name_of, view in views.items():
                    if view is not None and (unseen := members - view):
                        problems.append(
                            f"{name_of} does not see {', '.join(sorted(unseen))} in {name}"
                        )
        return problems

    def time_to_converged(
        self,
        *deployments: Deployment,
        within: float,
        since: Moment | None = None,
        nodes: Iterable[Node] | None = None,
    ) -> Elapsed:
        """Measure the time from ``since`` (monotonic) until members of a network see each other."""
        wanted = None if nodes is None else list(nodes)

        def converged() -> bool | NotYet:
            wrong = self.wrong(*deployments, nodes=wanted)
            return NotYet("; ".join(wrong[:3])) if wrong else True

        return time_until(
            converged, state="all peers to see each other", within=within, every=0.5, since=since
        )

    # -- by NetworkDB and the kernel -----------------------------------------------------------

    def forwarding(self, node: Node, network: str) -> dict[str, Forwarding]:
        """Return a node's neighbour and forwarding entries in a network (id), by address."""
        return forwarding(node, network)

    def wrong_forwarding(
        self, made: Deployment, *, nodes: Iterable[Node] | None = None
    ) -> list[str]:
        """Return running tasks that a node in the same network could not send to, as sentences."""
        self._containers.start()
        problems = []
        addresses = {node.name: node.address for node in self._nodes.values()}
        for node in self._nodes.values() if nodes is None else nodes:
            for name, id_ in made.networks.items():
                try:
                    entries = forwarding(node, id_)
                except LabError:
                    continue  # it is not in this network
                problems += wrong_forwarding(
                    node, name, entries.values(), self._containers.running_now(), addresses
                )
        return problems

    def diagnose(self, node: Node) -> frozenset[str]:
        """Return the members of the gossip cluster that a node sees, as NetworkDB itself says.

        Turns dockerd's diagnostic server on (a reload of its configuration) and leaves it on: it
        listens on the node's loopback. Each question is a line in dockerd's log.
        """
        found = self._ask_networkdb(node, "/clusterpeers?json")
        return frozenset(self._names.get(peer["ip"], peer["ip"]) for peer in found["entries"])

    def entries(self, node: Node, network: str, table: str = "endpoint_table") -> dict[str, str]:
        """Return NetworkDB's entries of a table of a network (id), as a node has it: key -> owner.

        Tables: ``endpoint_table`` (services and addresses), ``overlay_peer_table``.
        """
        found = self._ask_networkdb(node, f"/gettable?nid={network}&tname={table}&json")
        return {entry["key"]: entry["owner"] for entry in found["entries"] or []}

    # -- within --------------------------------------------------------------------------------

    def _ask_networkdb(self, node: Node, path: str) -> Any:
        url = f"http://127.0.0.1:{_DIAGNOSTIC_PORT}{path}"
        try:
            return node.here.network.call(lambda: _fetch(url))
        except OSError:
            _turn_on(node)
        return wait_for(
            lambda: _or_not_yet(node, url), state=f"NetworkDB on {node.name} to answer", within=10.0
        )

    def _sample(self, every: float) -> None:
        while not self._stop.is_set():
            for network, id_ in self._networks.items():
                for node in self._nodes.values():
                    try:
                        peers = self.peers(node, id_)
                    except LabError:
                        continue
                    with self._lock:
                        seen = self._peers.setdefault((node.name, network), [])
                        if not seen or seen[-1][1] != peers:
                            seen.append((self._trial.clock.now(), peers))
            self._stop.wait(every)

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [
            {"t": c.t, "by": c.by, "kind": c.kind, "about": c.about, "network": "", "peers": None}
            for c in self.changes()
        ]
        with self._lock:
            for (node, network), seen in self._peers.items():
                rows += [
                    {
                        "t": t,
                        "by": node,
                        "kind": "peers",
                        "about": "",
                        "network": network,
                        "peers": None if peers is None else sorted(peers),
                    }
                    for t, peers in seen
                ]
        return sorted(rows, key=lambda row: (row["t"], row["by"], row["kind"]))


def _turn_on(node: Node) -> None:
    """Have dockerd start the server: by its configuration file, which it then reads again."""
    file = Path(f"/proc/{node.here.pid}/root/etc/docker/daemon.json")
    try:
        settings = json.loads(file.read_text()) if file.exists() else {}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({**settings, "network-diagnostic-port": _DIAGNOSTIC_PORT}))
    except (OSError, ValueError) as error:
        raise LabError(f"dockerd on {node.name} cannot be configured: {error}") from error
    node.dockerd.signal(signal.SIGHUP)


def _or_not_yet(node: Node, url: str) -> Any:
    try:
        return node.here.network.call(lambda: _fetch(url))
    except OSError as error:
        return NotYet(str(error))


def _fetch(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5.0) as answer:
        return json.loads(answer.read())["details"]


def _get(node: Node, path: str) -> Any:
    connection = UnixConnection(node.dockerd.socket, timeout=5.0)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == OK else None
    finally:
        connection.close()
