"""The truth that other probes are compared with: which tasks' containers run, and since when.

Each node's own dockerd tells by its events, with the time of each; the kernel tells whether the
processes still live, every 50 ms, also when a dockerd or its whole node is dead. No manager is
asked: what the swarm believes is another matter.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote

from harness.errors import LabError
from harness.lab import Node
from harness.lab.client import UnixConnection
from harness.probes.sampling.heartbeat import Cadence
from harness.probes.sampling.proc_handle import ProcHandle
from harness.probes.sampling.threads import doubt_ended
from harness.probes.sampling.timestamps import epoch_seconds, to_trial_time
from harness.trial import Trial

#: Seconds between two looks at the processes.
_LOOK = 0.05

#: Seconds that swarm waits between taking a task out of service and its stop
#: (moby daemon/cluster/executor/container, defaultGossipConvergeDelay).
PRE_STOP = 2.0

#: Seconds by which a dockerd's own clock may differ from ours before its times are not taken.
_BELIEVED = 2.0

_LABEL = "com.docker.swarm.task.id"
_EVENTS = ("start", "kill", "die", "health_status")


@dataclass(frozen=True)
class Life:
    """A task's container, from start to end, in trial seconds (negative: before the trial).

    ``addresses``: by network name. ``serving``: when it was to be found by others: from its start,
    or from when its health check first held (None: not yet). ``leaving``: when swarm began to
    take it out of service on purpose, which comes before its end; a dockerd that is told to end
    kills its containers without that. ``ended`` None: it runs.
    """

    container: str
    node: str
    service: str
    slot: str
    task: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0
    serving: float | None = None
    leaving: float | None = None
    ended: float | None = None

    @property
    def name(self) -> str:
        """The task's own name: ``app.2.<task id>``."""
        return f"{self.service}.{self.slot}.{self.task}"

    def runs_at(self, t: float) -> bool:
        """Return whether its process ran at that time (trial seconds)."""
        return self.started <= t and (self.ended is None or t < self.ended)


class Containers:
    """The task containers of nodes, watched from :meth:`start` until :meth:`close`."""

    def __init__(self, nodes: Iterable[Node], trial: Trial) -> None:
        self._nodes = list(nodes)
        self._trial = trial
        self._lock = threading.Lock()
        self._lives: dict[str, Life] = {}
        self._processes: dict[str, ProcHandle] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._cadence: Cadence | None = None
        self._streams: dict[str, socket.socket] = {}
        self._read_once: set[str] = set()

    @property
    def running(self) -> bool:
        """Whether it is watching."""
        return bool(self._threads)

    def start(self) -> None:
        """Start watching, if it does not already; return when every node was read."""
        if self._threads:
            return
        read = threading.Barrier(len(self._nodes) + 1)
        for node in self._nodes:
            self._threads.append(
                threading.Thread(
                    target=self._follow, args=(node, read), name=f"events-{node.name}", daemon=True
                )
            )
        self._threads.append(
            threading.Thread(target=self._look, name="containers-alive", daemon=True)
        )
        for thread in self._threads:
            thread.start()
        with suppress(threading.BrokenBarrierError):
            read.wait(timeout=30.0)

    def close(self) -> None:
        """Stop watching and write ``samples/containers.jsonl``."""
        if not self._threads:
            return
        doubt_ended("containers", self._threads, self._trial)
        self._doubt_unread()
        self._stop.set()
        with self._lock:
            for stream in self._streams.values():
                with suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10.0)
        self._threads = []
        for process in self._processes.values():
            process.close()
        self._processes = {}
        self._trial.write_samples("containers", self._rows())
        if self._cadence is not None:
            for doubt in self._cadence.doubts():
                self._trial.doubt(doubt)
            self._cadence = None

    def lives(self, service: str | None = None) -> list[Life]:
        """Return all lives seen so far, by their start."""
        with self._lock:
            lives = list(self._lives.values())
        wanted = (life for life in lives if service is None or life.service == service)
        return sorted(wanted, key=lambda life: (life.started, life.container))

    def running_now(self, service: str | None = None) -> list[Life]:
        """Return those that run now."""
        return [life for life in self.lives(service) if life.ended is None]

    # -- within --------------------------------------------------------------------------------

    def _doubt_unread(self) -> None:
        """A node that was up all the time and of which nothing could be read was not seen."""
        for node in self._nodes:
            if node.name not in self._read_once and node.up and node.dockerd.alive:
                self._trial.doubt(f"the containers probe could never read those of {node.name}")

    def _rows(self) -> Iterator[dict[str, Any]]:
        for life in self.lives():
            yield {
                "t": life.started,
                "node": life.node,
                "service": life.service,
                "slot": life.slot,
                "task": life.task,
                "addresses": dict(sorted(life.addresses.items())),
                "serving": life.serving,
                "leaving": life.leaving,
                "ended": life.ended,
            }

    def _look(self) -> None:
        cadence = self._cadence = Cadence("the containers probe", _LOOK, self._trial.clock.now)
        while not self._stop.wait(_LOOK):
            cadence.beat()
            with self._lock:
                held = list(self._processes.items())
            gone = [(container, process) for container, process in held if not process.alive]
            now = self._trial.clock.now()
            for container, process in gone:
                self._ended(container, now)
                with self._lock:
                    if self._processes.get(container) is process:
                        del self._processes[container]
                        process.close()

    def _follow(self, node: Node, read: threading.Barrier) -> None:
        first = True
        while not self._stop.is_set():
            # a dockerd may be dead or busy dying; the kernel still tells who lives
            with suppress(OSError, ValueError, http.client.HTTPException, LabError):
                self._read(node, read if first else None)
            first = False
            self._stop.wait(0.25)

    def _read(self, node: Node, read: threading.Barrier | None) -> None:
        """Follow one connection's events to its end."""
        filters = quote(json.dumps({"type": ["container"], "event": list(_EVENTS)}))
        connection = UnixConnection(node.dockerd.socket, timeout=15.0)
        try:
            connection.request("GET", f"/events?filters={filters}")
            response = connection.getresponse()
            connection.sock.settimeout(None)
            with self._lock:
                self._streams[node.name] = connection.sock
            # what runs already; what starts meanwhile waits in the stream
            self._read_running(node)
            self._read_once.add(node.name)
            if read is not None:
                with suppress(threading.BrokenBarrierError):
                    read.wait(timeout=30.0)
            while not self._stop.is_set() and (line := response.readline()):
                if line.strip():
                    self._happened(node, json.loads(line))
        finally:
            with self._lock:
                self._streams.pop(node.name, None)
            connection.close()

    def _read_running(self, node: Node) -> None:
        filters = quote(json.dumps({"label": [_LABEL]}))
        listed = _get(node, f"/containers/json?filters={filters}")
        for each in listed:
            with self._lock:
                known = each["Id"] in self._lives
            if not known:
                self._began(node, each["Id"], None)

    def _happened(self, node: Node, event: dict[str, Any]) -> None:
        actor = event.get("Actor", {})
        if _LABEL not in actor.get("Attributes", {}):
            return
        container, action = str(actor["ID"]), str(event.get("Action", ""))
        at = self._time_of(event)
        if action == "start":
            self._began(node, container, at)
        elif action == "kill" and node.dockerd_ends.to_run:
            self._changed(container, "leaving", round(at - PRE_STOP, 6))
        elif action == "die":
            self._ended(container, at)
        elif action == "health_status: healthy":
            self._changed(container, "serving", at)

    def _began(self, node: Node, container: str, at: float | None) -> None:
        try:
            found = _get(node, f"/containers/{container}/json")
            life = life_of(node.name, found, self._at)
        except (OSError, ValueError, http.client.HTTPException, KeyError):
            return  # it is gone already, or its dockerd is
        if at is not None:
            life = replace(life, started=at, serving=at if life.serving is not None else None)
        process = None
        with suppress(LabError):
            process = ProcHandle(node, int(found["State"].get("Pid") or 0))
        if process is None and life.ended is None:
            life = replace(life, ended=self._trial.clock.now())
        if life.ended is not None and life.ended < life.started:
            life = replace(life, ended=life.started)  # it was over before dockerd told of it
        with self._lock:
            self._lives[container] = life
            before = self._processes.pop(container, None)
            if process is not None:
                self._processes[container] = process
        if before is not None:  # the same container, started again
            before.close()

    def _changed(self, container: str, what: Literal["serving", "leaving"], at: float) -> None:
        with self._lock:
            life = self._lives.get(container)
            if life is None or getattr(life, what) is not None:
                return
            serving, leaving = (at, None) if what == "serving" else (life.serving, at)
            self._lives[container] = replace(life, serving=serving, leaving=leaving)

    def _ended(self, container: str, at: float) -> None:
        with self._lock:
            life = self._lives.get(container)
            if life is not None and (life.ended is None or at < life.ended):
                self._lives[container] = replace(life, ended=max(at, life.started))

    def _at(self, epoch: float) -> float:
        return round(epoch + to_trial_time(self._trial.clock), 6)

    def _time_of(self, event: Mapping[str, Any]) -> float:
        """When an event happened: by dockerd's clock, unless that is not ours."""
        now = self._trial.clock.now()
        at = self._at(int(event.get("timeNano", 0)) / 1e9)
        return at if now - _BELIEVED <= at <= now else now


def life_of(node: str, found: Mapping[str, Any], at: Any) -> Life:
    """Return the life in ``GET /containers/ID/json``; ``at`` turns epoch seconds to trial time."""
    labels = found["Config"]["Labels"]
    service = labels["com.docker.swarm.service.name"]
    slot, _, task = labels["com.docker.swarm.task.name"].removeprefix(f"{service}.").rpartition(".")
    state = found["State"]
    started = at(epoch_seconds(state["StartedAt"]))
    networks = found["NetworkSettings"]["Networks"] or {}
    addresses = {}
    for name, network in networks.items():
        own = (network.get("IPAMConfig") or {}).get("IPv4Address", "")
        if address := network.get("IPAddress") or own:
            addresses[name] = address
    checked = (found["Config"].get("Healthcheck") or {}).get("Test") not in (None, [], ["NONE"])
    healthy = (state.get("Health") or {}).get("Status") == "healthy"
    return Life(
        container=found["Id"],
        node=node,
        service=service,
        slot=slot,
        task=task,
        addresses=addresses,
        started=started,
        serving=None if checked and not healthy else started,
        ended=None if state.get("Running") else at(epoch_seconds(state["FinishedAt"])),
    )


def _get(node: Node, path: str) -> Any:
    connection = UnixConnection(node.dockerd.socket, timeout=15.0)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise ValueError(f"{path} answers {response.status}")
        return json.loads(body)
    finally:
        connection.close()
