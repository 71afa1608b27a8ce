"""Who gets through to what: every node's published port, and task to task in each network.

From outside, every entry of a deployment (node x published port) is asked for its path several
times a second, each time by a new connection. From inside, every running task is asked from
a vantage container on every node, network by network. By name, every service is connected to at
the address that a client would have been given there just now. Who answers says so itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import LabError, UsageError
from harness.lab import ClientHost, Node
from harness.probes.containers import Containers
from harness.probes.discovery import Discovery, Place
from harness.probes.sampling.heartbeat import Cadence
from harness.probes.sampling.http_prober import Attempt, Cell, HttpProber, Question
from harness.probes.sampling.netns import NetworkNamespace
from harness.probes.sampling.vantage_containers import VantageContainers
from harness.swarm import Deployment
from harness.trial import Trial
from harness.wait import Elapsed, Moment, NotYet, monotonic_moment, time_until, trial_moment

#: Seconds between two requests of a cell: from outside, and from task to task.
EVERY = 0.25
EVERY_INSIDE = 1.0

#: Seconds that an answer may take.
TIMEOUT = 2.0

_OUTSIDE = "outside"

#: TCP_LISTEN, as /proc/net/tcp has it.
_LISTEN = "0A"


@dataclass(frozen=True)
class Outage:
    """A cell that failed from ``began`` (start of the first failure) to ``ended`` (trial s).

    ``open``: no request has got through since. ``outcomes``: what became of them.
    """

    cell: Cell
    began: float
    ended: float
    outcomes: tuple[str, ...]
    open: bool

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return round(self.ended - self.began, 6)


class Reachability:
    """The probe. :meth:`watch` is a context manager; all questions may be asked during it.

    ::

        with reachability.watch(web, inside=True), faults.kill_node(worker):
            ...
        measure(OUTAGE, reachability.longest_outage(inside=False))
    """

    def __init__(
        self, nodes: Iterable[Node], client_host: ClientHost, containers: Containers, trial: Trial
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._client_host = client_host
        self._containers = containers
        self._trial = trial
        self._lock = threading.Lock()
        self._attempts: dict[Cell, list[Attempt]] = {}
        self._deployments: list[Deployment] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._vantage_points: VantageContainers | None = None
        self._own: VantageContainers | None = None
        self._names: Discovery | None = None
        self._asked_by_name = 0
        self._outside: NetworkNamespace | None = None
        self._error: BaseException | None = None
        self._cadences: list[Cadence] = []

    @contextmanager
    def watch(
        self,
        *deployments: Deployment,
        every: float = EVERY,
        inside: bool = False,
        every_inside: float = EVERY_INSIDE,
        vantage_points: VantageContainers | None = None,
        by_name: Discovery | None = None,
    ) -> Iterator[Reachability]:
        """Watch the entries of deployments while the block lasts; ``inside``: task to task too.

        ``vantage_points``: those of another probe, to ask from; they stay that probe's.
        ``by_name``: a probe that watches the names of the deployments; each service is then
        connected to by its name too, at what that name gave last (its cells count as inside).
        """
        self.start(
            *deployments,
            every=every,
            inside=inside,
            every_inside=every_inside,
            vantage_points=vantage_points,
            by_name=by_name,
        )
        try:
            yield self
        finally:
            self.close()

    def start(
        self,
        *deployments: Deployment,
        every: float = EVERY,
        inside: bool = False,
        every_inside: float = EVERY_INSIDE,
        vantage_points: VantageContainers | None = None,
        by_name: Discovery | None = None,
    ) -> None:
        """Start; what each deployment publishes is read again in every round."""
        if self._threads:
            raise UsageError("reachability is already being watched")
        self._deployments = list(deployments)
        self._stop.clear()
        self._outside = NetworkNamespace(Path(f"/proc/{self._client_host.pid}/ns/net"))
        rounds: list[tuple[str, float, Callable[[], Iterator[Question]]]] = [
            ("outside", every, self._entries)
        ]
        if inside:
            networks: dict[str, str] = {}
            for made in deployments:
                networks |= made.networks
            self._containers.start()
            if vantage_points is None:
                self._own = VantageContainers(self._nodes.values(), networks)
                self._own.start()
            self._vantage_points = vantage_points or self._own
            rounds.append(("inside", every_inside, self._tasks))
        if by_name is not None:
            self._names = by_name
            rounds.append(("by-name", every, self._services))
        for name, seconds, questions in rounds:
            thread = threading.Thread(
                target=self._sample, args=(seconds, questions), name=f"reach-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop, and write ``samples/reachability.jsonl``; safe to call twice."""
        if not self._threads:
            return
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10.0)
        self._threads = []
        if self._own is not None:
            self._own.close()
        self._own = self._vantage_points = self._names = None
        if self._outside is not None:
            self._outside.close()
            self._outside = None
        self._trial.write_samples("reachability", self._rows())
        if self._error is not None:
            self._trial.doubt(f"the reachability probe stopped early: {self._error}")
        for cadence in self._cadences:
            for doubt in cadence.doubts():
                self._trial.doubt(doubt)
        self._cadences = []

    # -- what it saw ---------------------------------------------------------------------------

    def at(self, monotonic: float) -> float:
        """Return a reading of the monotonic clock as trial time, in which ``since`` is given."""
        return self._trial.clock.at(monotonic)

    def attempts(self, *, since: Moment = 0.0, inside: bool | None = None) -> list[Attempt]:
        """Return the requests that began at ``since`` (trial seconds) or later, by time.

        ``inside``: only those from task to task (True) or from outside (False). What failed at a
        task that was on its way out is left out.
        """
        began, out = trial_moment(since), self._on_their_way_out()
        with self._lock:
            found = [
                attempt
                for cell, attempts in self._attempts.items()
                if inside is None or inside == (cell.source != _OUTSIDE)
                for attempt in attempts
                if attempt.t >= began and _counts(attempt, out)
            ]
        return sorted(found, key=lambda attempt: (attempt.t, attempt.cell))

    def outages(self, *, since: Moment = 0.0, inside: bool | None = None) -> list[Outage]:
        """Return the stretches in which a cell's requests failed, one after the other."""
        by_cell: dict[Cell, list[Attempt]] = {}
        for attempt in self.attempts(since=since, inside=inside):
            by_cell.setdefault(attempt.cell, []).append(attempt)
        return sorted(
            (outage for attempts in by_cell.values() for outage in outages_in(attempts)),
            key=lambda outage: (outage.began, outage.cell),
        )

    def longest_outage(self, *, since: Moment = 0.0, inside: bool | None = None) -> Elapsed:
        """Return the longest outage of any cell; not ``reached`` if it went on when last asked."""
        found = self.outages(since=since, inside=inside)
        if not found:
            return Elapsed(0.0, reached=True)
        worst = max(found, key=lambda outage: (outage.seconds, outage.open))
        words = f"{worst.cell}: {', '.join(worst.outcomes)}"
        return Elapsed(worst.seconds, reached=not worst.open, last=words)

    def longest_alone(self, *, since: Moment = 0.0) -> Elapsed:
        """Return the longest time that a node failed at a published port while another served it.

        A port that nobody serves is a service that is not there; one that some nodes serve and
        others do not is a port that was lost (moby#33430).
        """
        attempts = self.attempts(since=since, inside=False)
        found = list(alone_in(attempts))
        if not found:
            return Elapsed(0.0, reached=True)
        worst = max(found, key=lambda outage: (outage.seconds, outage.open))
        words = f"{worst.cell}: {', '.join(worst.outcomes)}"
        return Elapsed(worst.seconds, reached=not worst.open, last=words)

    def matrix(self, *, since: Moment = 0.0) -> dict[Cell, Attempt]:
        """Return the last attempt of each cell that was asked since then (trial seconds)."""
        began, out = trial_moment(since), self._on_their_way_out()
        with self._lock:  # from each one's end: this is asked while one waits, again and again
            last = (
                next((a for a in reversed(attempts) if a.t >= began and _counts(a, out)), None)
                for attempts in self._attempts.values()
            )
            return {attempt.cell: attempt for attempt in last if attempt is not None}

    def wrong(
        self,
        *,
        since: Moment = 0.0,
        inside: bool | None = None,
        nodes: Iterable[Node] | None = None,
    ) -> list[str]:
        """Return the cells (from or to ``nodes``) that do not get through now, and how they fail.

        A cell that should be asked and was not, since ``since``, is wrong too.
        """
        names = None if nodes is None else {node.name for node in nodes}
        last = {
            cell: attempt
            for cell, attempt in self.matrix(since=since).items()
            if inside is None or inside == (cell.source != _OUTSIDE)
        }
        words = []
        for cell in sorted(self._expected(inside)):
            if names is not None and self._node_of(cell) not in names:
                continue
            if cell not in last:
                words.append(f"{cell}: not asked yet")
            elif last[cell].outcome != "ok":
                words.append(f"{cell}: {last[cell].outcome}")
        return words

    def time_to_converged(
        self,
        *,
        within: float,
        since: Moment | None = None,
        inside: bool | None = None,
        nodes: Iterable[Node] | None = None,
    ) -> Elapsed:
        """Measure the time until every cell (from or to ``nodes``) gets through.

        ``since``: a reading of the monotonic clock (default: now); only requests begun after it
        count.
        """
        began = time.monotonic() if since is None else monotonic_moment(since)
        after = self._trial.clock.at(began)
        wanted = None if nodes is None else list(nodes)

        def converged() -> bool | NotYet:
            wrong = self.wrong(since=after, inside=inside, nodes=wanted)
            if wrong:
                return NotYet("; ".join(wrong[:3]) + (" ..." if len(wrong) > 3 else ""))
            return True

        return time_until(
            converged, state="every place to answer", within=within, every=0.1, since=began
        )

    # -- within --------------------------------------------------------------------------------

    def _sample(self, every: float, questions: Callable[[], Iterator[Question]]) -> None:
        asker = HttpProber(self._trial.clock.now, self._keep, TIMEOUT)
        cadence = Cadence("the reachability probe", every, self._trial.clock.now)
        self._cadences.append(cadence)
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                cadence.beat()
                asker.ask(questions())
                due = max(due + every, time.monotonic())
                while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
                    asker.listen(min(left, 0.25))
        except BaseException as error:
            self._error = error
        finally:
            cadence.beat()
            asker.close()

    def _on_their_way_out(self) -> dict[str, float]:
        """From when on a task was on its way out, by its name; only of those that were."""
        return {
            life.name: min(t for t in (life.leaving, life.ended) if t is not None)
            for life in self._containers.lives()
            if life.leaving is not None or life.ended is not None
        }

    def _keep(self, attempt: Attempt) -> None:
        with self._lock:
            self._attempts.setdefault(attempt.cell, []).append(attempt)

    def _entries(self) -> Iterator[Question]:
        assert self._outside is not None
        for made in self._deployments:
            for name, url in made.entries.items():
                at = urlsplit(url)
                if at.hostname and at.port:
                    cell = Cell(_OUTSIDE, f"{name}:{at.port}")
                    yield Question(cell, self._outside, at.hostname, at.port, made.path)

    def _tasks(self) -> Iterator[Question]:
        assert self._vantage_points is not None
        ports = self._ports()
        for vantage in self._vantage_points.there():
            for cell, address, port in self._reachable_in(
                vantage.network, vantage.node.name, ports
            ):
                yield Question(cell, vantage.namespace, address, port)

    def _reachable_in(
        self, network: str, node: str, ports: dict[str, int]
    ) -> Iterator[tuple[Cell, str, int]]:
        for life in self._containers.running_now():
            if life.service in ports and network in life.addresses and life.leaving is None:
                cell = Cell(f"{node} in {network}", life.name)
                yield cell, life.addresses[network], ports[life.service]

    def _services(self) -> Iterator[Question]:
        """What a client would do that resolves a name and connects to what it was given."""
        assert self._names is not None
        ports, turn = self._ports(), self._asked_by_name
        self._asked_by_name += 1
        there = {(v.node.name, v.network): v for v in self._names.vantage_points.there()}
        for place in self._named():
            vantage = there.get((place.node, place.network))
            view = next(reversed(self._names.views(place)), None)
            if vantage is None or view is None or view.blind:
                continue
            cell = Cell(f"{place.node} in {place.network}", _by_name(place))
            if view.addresses:  # of several, each in its turn
                address = sorted(view.addresses)[turn % len(view.addresses)]
                yield Question(cell, vantage.namespace, address, ports[place.name])
            else:
                self._keep(Attempt(cell, "", ports[place.name], self._now(), 0.0, "unresolved"))

    def _named(self) -> list[Place]:
        """Where services that have a port are asked for by their own names."""
        if self._names is None:
            return []
        ports = self._ports()
        return [p for p in self._names.places if p.via == "dns" and p.name in ports]

    def _now(self) -> float:
        return self._trial.clock.now()

    def _ports(self) -> dict[str, int]:
        return {
            service.name: service.port
            for made in self._deployments
            for service in made.workload.services
            if service.port is not None
        }

    def _expected(self, inside: bool | None) -> Iterator[Cell]:
        if inside is not True:
            for made in self._deployments:
                for name, url in made.entries.items():
                    yield Cell(_OUTSIDE, f"{name}:{urlsplit(url).port}")
        if inside is not False and self._vantage_points is not None:
            ports = self._ports()
            for node, network in self._vantage_points.places:
                for cell, _, _ in self._reachable_in(network, node, ports):
                    yield cell
        if inside is not False:
            for place in self._named():
                yield Cell(f"{place.node} in {place.network}", _by_name(place))

    def _node_of(self, cell: Cell) -> str:
        if cell.source == _OUTSIDE:
            return cell.target.partition(":")[0]
        return cell.source.partition(" ")[0]

    def _rows(self) -> Iterator[dict[str, Any]]:
        for attempt in self.attempts():
            yield {
                "t": attempt.t,
                "took": attempt.took,
                "source": attempt.cell.source,
                "target": attempt.cell.target,
                "address": f"{attempt.address}:{attempt.port}",
                "outcome": attempt.outcome,
                "code": attempt.code,
                "task": attempt.task,
                "node": attempt.node,
            }


def _by_name(place: Place) -> str:
    return f"{place.name} by name"


def _counts(attempt: Attempt, out: Mapping[str, float]) -> bool:
    """Whether an attempt is held against anybody: not if it failed at a task on its way out."""
    left = out.get(attempt.cell.target)
    return attempt.outcome == "ok" or left is None or attempt.t + attempt.took < left


def outages_in(attempts: Iterable[Attempt]) -> Iterator[Outage]:
    """Return the outages of one cell, its attempts given in order of time.

    An outage ends when the first request that gets through has begun.
    """
    began: Attempt | None = None
    outcomes: dict[str, None] = {}
    end = 0.0
    for attempt in attempts:
        end = round(attempt.t + attempt.took, 6)
        if attempt.outcome != "ok":
            began = began or attempt
            outcomes[attempt.outcome] = None
        elif began is not None:
            yield Outage(began.cell, began.t, attempt.t, tuple(outcomes), open=False)
            began, outcomes = None, {}
    if began is not None:
        yield Outage(began.cell, began.t, end, tuple(outcomes), open=True)


def alone_in(attempts: Iterable[Attempt]) -> Iterator[Outage]:
    """Return each cell's outages, from when another cell of the same port got through in them.

    Attempts are given in order of time; those in which nobody got through are no outage of one.
    """
    by_port: dict[int, dict[Cell, list[Attempt]]] = {}
    for attempt in attempts:
        by_port.setdefault(attempt.port, {}).setdefault(attempt.cell, []).append(attempt)
    for cells in by_port.values():
        for cell, own in cells.items():
            served = [
                attempt.t
                for other, theirs in cells.items()
                if other != cell
                for attempt in theirs
                if attempt.outcome == "ok"
            ]
            for outage in outages_in(own):
                meanwhile = [t for t in served if outage.began <= t < outage.ended]
                if meanwhile:
                    yield replace(outage, began=min(meanwhile))


def listening(node: Node) -> set[int]:
    """Return the TCP ports on which something listens in a node's own network namespace.

    dockerd holds each published port itself (ingress ports too), so a port that is missing here
    is lost whatever the firewall does.
    """
    ports = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            ports |= listeners_in(Path(f"/proc/{node.here.pid}/net/{name}").read_text())
    if not ports and not node.up:
        raise LabError(f"{node.name} is down")
    return ports


def listeners_in(table: str) -> set[int]:
    """Return the listening ports in the text of ``/proc/net/tcp`` or ``tcp6``."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {
        int(words[1].rpartition(":")[2], 16)
        for words in rows
        if len(words) > 3 and words[3] == "0A"
    }
