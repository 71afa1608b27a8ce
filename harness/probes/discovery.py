"""What each node's embedded DNS and IPVS give for each service, against the tasks that run.

In every network, from a vantage container on every node, the resolver at 127.0.0.11 is asked for
``<service>`` and ``tasks.<service>`` ten times a second, and IPVS, where there is one, is read for
where it leads. What they give is compared with the containers that truly run: how long a dead
address is still given, how long a live one is missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.errors import LabError, UsageError
from harness.lab import Node
from harness.probes.containers import Containers, Life
from harness.probes.ipvs import TABLE, Destination, destinations_in, load_balancer
from harness.probes.sampling.dns_prober import DnsProber, wait_for_answers
from harness.probes.sampling.dns_wire import Answer
from harness.probes.sampling.heartbeat import Cadence
from harness.probes.sampling.netns import NetworkNamespace
from harness.probes.sampling.staleness import (
    Stretch,
    Truth,
    View,
    missing,
    most_at_once,
    stale,
    wrong_now,
)
from harness.probes.sampling.vantage_containers import VantageContainer, VantageContainers
from harness.swarm import Deployment
from harness.trial import Trial
from harness.wait import Elapsed, Moment, NotYet, monotonic_moment, time_until, trial_moment

#: Seconds between two questions for a name at a place.
EVERY = 0.1

Via = Literal["dns", "ipvs"]


@dataclass(frozen=True, order=True)
class Place:
    """Where something was asked for: a cell of the matrix node x network x name.

    ``via`` ipvs: the name is the service's, the addresses are where its virtual one leads.
    """

    node: str
    network: str
    name: str
    via: Via = "dns"

    def __str__(self) -> str:
        return f"{self.name} in {self.network} on {self.node}" + (
            " (ipvs)" if self.via == "ipvs" else ""
        )


@dataclass(frozen=True)
class Found:
    """A stretch of a wrong address, and the place where it was seen."""

    place: Place
    stretch: Stretch


class Discovery:
    """The probe. :meth:`watch` is a context manager; all questions may be asked during it.

    ::

        with discovery.watch(web), faults.kill_dockerd(worker):
            ...
        measure(STALE, discovery.longest_stale())
    """

    def __init__(self, nodes: Iterable[Node], containers: Containers, trial: Trial) -> None:
        self._nodes = list(nodes)
        self._containers = containers
        self._trial = trial
        self._lock = threading.Lock()
        self._views: dict[Place, list[View]] = {}
        self._deployments: list[Deployment] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._vantage_points: VantageContainers | None = None
        self._virtual: dict[tuple[str, str], str] = {}  # (network, service) -> its address
        self._resolvers: dict[tuple[str, str], tuple[VantageContainer, DnsProber]] = {}
        self._balancers: dict[tuple[str, str], NetworkNamespace] = {}
        self._error: BaseException | None = None
        self._cadence: Cadence | None = None

    @contextmanager
    def watch(
        self,
        *deployments: Deployment,
        every: float = EVERY,
        nodes: Iterable[Node] | None = None,
    ) -> Iterator[Discovery]:
        """Watch the services of deployments on all their networks while the block lasts.

        ``nodes``: where it is asked (default: everywhere).
        """
        self.start(*deployments, every=every, nodes=nodes)
        try:
            yield self
        finally:
            self.close()

    def start(
        self,
        *deployments: Deployment,
        every: float = EVERY,
        nodes: Iterable[Node] | None = None,
    ) -> None:
        """Start the vantage containers and the probe; return when every name was asked for once."""
        if self._thread is not None:
            raise UsageError("discovery is already being watched")
        self._deployments = list(deployments)
        networks: dict[str, str] = {}
        for made in deployments:
            networks |= made.networks
        self._containers.start()
        self._learn_virtual_addresses()
        self._vantage_points = VantageContainers(self._nodes if nodes is None else nodes, networks)
        with ExitStack() as stack:
            stack.callback(self._vantage_points.close)
            self._vantage_points.start()
            stack.pop_all()
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._sample, args=(every,), name="discovery", daemon=True
        )
        self._thread.start()
        time_until(self._asked_all, state="a first answer everywhere", within=5.0)

    def close(self) -> None:
        """End the watching and write ``samples/discovery.jsonl``; nothing if it has ended."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(timeout=10.0)
        self._thread = None
        assert self._vantage_points is not None
        self._vantage_points.close()
        for _, resolver in self._resolvers.values():
            resolver.close()
        for namespace in self._balancers.values():
            namespace.close()
        self._resolvers = {}
        self._balancers = {}
        self._trial.write_samples("discovery", self._rows())
        if self._error is not None:
            self._trial.doubt(f"the discovery probe stopped early: {self._error}")
        if self._cadence is not None:
            for doubt in self._cadence.doubts():
                self._trial.doubt(doubt)
            self._cadence = None

    def relearn(self) -> None:
        """Read the services' virtual addresses again: another network comes with another address.

        They then count as the addresses of the past too: ask only about what comes after.
        """
        self._learn_virtual_addresses()

    # -- what it saw ---------------------------------------------------------------------------

    @property
    def vantage_points(self) -> VantageContainers:
        """The containers that are asked from, for another probe to share."""
        if self._vantage_points is None:
            raise UsageError("discovery is not being watched: it has no vantage points")
        return self._vantage_points

    @property
    def places(self) -> list[Place]:
        """All places that were asked so far, in order."""
        with self._lock:
            return sorted(self._views)

    def views(self, place: Place) -> list[View]:
        """Return the answers that a place got, by time."""
        with self._lock:
            return list(self._views.get(place, ()))

    def stale(
        self,
        *,
        since: Moment = 0.0,
        service: str | None = None,
        nodes: Iterable[Node] | None = None,
    ) -> list[Found]:
        """Return dead addresses still given, of tasks that ended at ``since`` (trial s) or later.

        Of all services, or one; on all nodes, or some.
        """
        return self._found(stale, since, service, nodes)

    def missing(
        self,
        *,
        since: Moment = 0.0,
        service: str | None = None,
        nodes: Iterable[Node] | None = None,
    ) -> list[Found]:
        """Return live addresses not given from ``since`` (trial s) on; earlier time is cut off.

        A node whose dockerd is dead resolves nothing for the containers that live on there: all
        is missing on it.
        """
        return self._found(missing, since, service, nodes)

    def longest_stale(
        self,
        *,
        since: Moment = 0.0,
        service: str | None = None,
        nodes: Iterable[Node] | None = None,
    ) -> Elapsed:
        """Return the longest time that a dead address was still given somewhere.

        ``reached`` False: it still was when last looked.
        """
        return _longest(self.stale(since=since, service=service, nodes=nodes))

    def longest_missing(
        self,
        *,
        since: Moment = 0.0,
        service: str | None = None,
        nodes: Iterable[Node] | None = None,
    ) -> Elapsed:
        """Return the longest time that a live address was not given somewhere."""
        return _longest(self.missing(since=since, service=service, nodes=nodes))

    def most_stale(self, *, since: Moment = 0.0, service: str | None = None) -> int:
        """Return how many dead addresses one place gave at one moment, at most."""
        by_place: dict[Place, list[Stretch]] = {}
        for found in self.stale(since=since, service=service):
            by_place.setdefault(found.place, []).append(found.stretch)
        return max(map(most_at_once, by_place.values()), default=0)

    def wrong(self, *, nodes: Iterable[Node] | None = None) -> list[str]:
        """Return what is wrong now, place by place; empty if all places have converged."""
        names = None if nodes is None else {node.name for node in nodes}
        now = self._trial.clock.now()
        words = []
        for place in self.places:
            if names is not None and place.node not in names:
                continue
            with self._lock:
                view = self._views[place][-1]
            found = wrong_now(view, self._truths(place), view.last)
            if place.via == "dns" and now - view.last > 1.0 and not view.blind:
                found.append(f"not asked for {now - view.last:.1f} s")
            words += [f"{place}: {each}" for each in found]
        return words

    def time_to_converged(
        self, *, within: float, since: Moment | None = None, nodes: Iterable[Node] | None = None
    ) -> Elapsed:
        """Measure the time until every place (on ``nodes``) gives what is true, and nothing else.

        ``since``: a reading of the monotonic clock (default: now). Converged is what was
        so in two checks half a second apart, and the time is that of the first.
        """
        wanted = None if nodes is None else list(nodes)
        converged_at: list[float] = []

        def converged() -> bool | NotYet:
            if wrong := self.wrong(nodes=wanted):
                converged_at.clear()
                return NotYet("; ".join(wrong[:3]) + (" ..." if len(wrong) > 3 else ""))
            converged_at.append(time.monotonic())
            if converged_at[-1] - converged_at[0] < 0.5:
                return NotYet("converged for less than half a second")
            return True

        seen = time_until(
            converged, state="names to converge", within=within, every=0.1, since=since
        )
        if not seen.reached or since is None:
            return seen if not seen.reached else replace(seen, seconds=max(0.0, seen.seconds - 0.5))
        return Elapsed(round(max(0.0, converged_at[0] - monotonic_moment(since)), 6), reached=True)

    def matrix(self, *, since: Moment = 0.0) -> dict[Place, tuple[float, float]]:
        """Return for each place the longest (stale, missing) in seconds, since a trial time."""
        cells = dict.fromkeys(self.places, (0.0, 0.0))
        for found in self.stale(since=since):
            worst, other = cells[found.place]
            cells[found.place] = (max(worst, found.stretch.seconds), other)
        for found in self.missing(since=since):
            other, worst = cells[found.place]
            cells[found.place] = (other, max(worst, found.stretch.seconds))
        return cells

    # -- within: the sampler -------------------------------------------------------------------

    def _sample(self, every: float) -> None:
        cadence = self._cadence = Cadence("the discovery probe", every, self._trial.clock.now)
        try:
            names = self._names()
            due = time.monotonic()
            while not self._stop.is_set():
                cadence.beat()
                self._meet()
                now = self._trial.clock.now()
                for (node, network), (vantage, resolver) in self._resolvers.items():
                    if vantage.alive:
                        resolver.ask(names[network], now, self._reporter(node, network))
                    else:
                        self._blind(node, network, names[network], now)
                self._read_ipvs(now)
                due = max(due + every, time.monotonic())
                while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
                    for place, (_, resolver) in self._readable(left):
                        resolver.read(self._trial.clock.now(), self._reporter(*place))
            cadence.beat()
        except BaseException as error:
            self._error = error

    def _readable(
        self, seconds: float
    ) -> list[tuple[tuple[str, str], tuple[VantageContainer, DnsProber]]]:
        if not self._resolvers:
            self._stop.wait(seconds)
            return []
        ready = wait_for_answers((r for _, r in self._resolvers.values()), seconds)
        return [each for each in self._resolvers.items() if each[1][1] in ready]

    def _meet(self) -> None:
        """Use vantage points that were made since, and let go of those that are gone."""
        assert self._vantage_points is not None
        for vantage in self._vantage_points.there():
            place = (vantage.node.name, vantage.network)
            before = self._resolvers.get(place)
            if before is not None and before[0] is vantage:
                continue
            with suppress(LabError, OSError):
                resolver = DnsProber(vantage.namespace)
                if before is not None:
                    before[1].close()
                self._resolvers[place] = (vantage, resolver)
                self._forget_balancer(place)

    def _names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for made in self._deployments:
            for network in made.networks:
                names.setdefault(network, [])
            for service in made.workload.services:
                for network in service.networks:
                    names[network] += [service.name, f"tasks.{service.name}"]
        return names

    def _reporter(self, node: str, network: str) -> Any:
        def report(name: str, at: float, answer: Answer) -> None:
            place = Place(node, network, name)
            self._saw(place, View(at, at, frozenset(answer.addresses), answer.error))

        return report

    def _blind(self, node: str, network: str, names: Iterable[str], now: float) -> None:
        for name in names:
            self._saw(Place(node, network, name), View(now, now, blind=True))

    def _saw(self, place: Place, view: View) -> None:
        with self._lock:
            views = self._views.setdefault(place, [])
            if views:
                last = views[-1]
                same = (last.addresses, last.error, last.blind) == (
                    view.addresses,
                    view.error,
                    view.blind,
                )
                if same:
                    views[-1] = replace(last, last=view.last)
                    return
            views.append(view)

    def _asked_all(self) -> bool | NotYet:
        names = self._names()
        for node, network in self._resolvers.copy():
            for name in names[network]:
                if not self.views(Place(node, network, name)):
                    return NotYet(f"{name} on {node}")
        return bool(self._resolvers) or NotYet("no vantage point")

    # -- within: IPVS --------------------------------------------------------------------------

    def _read_ipvs(self, now: float) -> None:
        if not self._virtual:
            return
        for place, (vantage, _) in self._resolvers.items():
            if not vantage.alive:
                self._forget_balancer(place)
                continue
            with suppress(LabError, OSError):
                with self._balancer(place, vantage).entered():
                    table = TABLE.read_text()
                self._saw_ipvs(place, destinations_in(table), now)

    def _balancer(self, place: tuple[str, str], vantage: VantageContainer) -> NetworkNamespace:
        if place not in self._balancers:
            path = load_balancer(vantage.node, self._network_id(place[1]))
            # engines before 18.09 balance in each container's own namespace
            self._balancers[place] = (
                NetworkNamespace(path) if path.exists() else vantage.namespace.again()
            )
        return self._balancers[place]

    def _forget_balancer(self, place: tuple[str, str]) -> None:
        if (namespace := self._balancers.pop(place, None)) is not None:
            namespace.close()

    def _saw_ipvs(self, place: tuple[str, str], found: list[Destination], now: float) -> None:
        node, network = place
        owners = self._owners(network)
        by_mark: dict[int, set[str]] = {}
        for each in found:
            if each.weight > 0:
                by_mark.setdefault(each.mark, set()).add(each.address)
        given: dict[str, set[str]] = {
            service: set() for on, service in self._virtual if on == network
        }
        for addresses in by_mark.values():
            service = _most_of(owners, addresses)
            given.setdefault(service, set()).update(addresses)
        for service, addresses in given.items():
            self._saw(Place(node, network, service, "ipvs"), View(now, now, frozenset(addresses)))

    def _owners(self, network: str) -> dict[str, str]:
        """Which service an address belongs to, or belonged to last."""
        return {
            life.addresses[network]: life.service
            for life in self._containers.lives()
            if network in life.addresses
        }

    # -- within: the truth ---------------------------------------------------------------------

    def _learn_virtual_addresses(self) -> None:
        known: dict[tuple[str, str], str] = {}
        for made in self._deployments:
            names = {id_: name for name, id_ in made.networks.items()}
            for service, id_ in made.services.items():
                found = made.swarm.ask(lambda api, id_=id_: api.api.inspect_service(id_))
                for each in (found.get("Endpoint") or {}).get("VirtualIPs") or []:
                    if (network := names.get(each["NetworkID"])) and each.get("Addr"):
                        known[network, service] = each["Addr"].partition("/")[0]
        self._virtual = known

    def _network_id(self, name: str) -> str:
        return next(made.networks[name] for made in self._deployments if name in made.networks)

    def _truths(self, place: Place) -> list[Truth]:
        service = place.name.removeprefix("tasks.")
        lives = [
            life
            for life in self._containers.lives(service)
            if place.network in life.addresses and life.serving is not None
        ]
        virtual = self._virtual.get((place.network, service))
        if virtual is not None and place.via == "dns" and place.name == service:
            return list(_of_virtual(virtual, lives))
        return [
            Truth(
                life.addresses[place.network],
                life.serving if life.serving is not None else life.started,
                life.ended,
                life.leaving,
                life.name,
            )
            for life in lives
        ]

    def _found(
        self,
        count: Callable[[Sequence[View], Iterable[Truth]], list[Stretch]],
        since: Moment,
        service: str | None,
        nodes: Iterable[Node] | None,
    ) -> list[Found]:
        names = None if nodes is None else {node.name for node in nodes}
        began = trial_moment(since)
        found = []
        for place in self.places:
            if service is not None and place.name.removeprefix("tasks.") != service:
                continue
            if names is not None and place.node not in names:
                continue
            for stretch in count(self.views(place), self._truths(place)):
                if stretch.kind == "missing" and stretch.ended > began:
                    stretch = replace(stretch, began=max(stretch.began, began))
                elif stretch.began < began:
                    continue
                found.append(Found(place, stretch))
        return found

    def _rows(self) -> list[dict[str, Any]]:
        rows = [
            {
                "t": view.first,
                "until": view.last,
                "node": place.node,
                "network": place.network,
                "name": place.name,
                "via": place.via,
                "addresses": sorted(view.addresses),
                "error": "nobody to ask" if view.blind else view.error,
            }
            for place in self.places
            for view in self.views(place)
        ]
        return sorted(rows, key=lambda row: (row["t"], row["node"], row["name"], row["via"]))


def _of_virtual(address: str, lives: Iterable[Life]) -> Iterator[Truth]:
    """A virtual address is given while at least one task serves."""
    merged: list[Truth] = []
    for life in sorted(lives, key=lambda life: life.serving or 0.0):
        assert life.serving is not None
        ended = life.ended
        if merged and (merged[-1].until is None or life.serving <= merged[-1].until):
            last = merged[-1]
            if last.until is None or (ended is not None and ended <= last.until):
                continue
            merged[-1] = Truth(address, last.since, ended, life.leaving, "the virtual address")
        else:
            merged.append(Truth(address, life.serving, ended, life.leaving, "the virtual address"))
    yield from merged


def _most_of(owners: Mapping[str, str], addresses: set[str]) -> str:
    """The service to which most of the addresses belong; "?" if none is known."""
    counts: dict[str, int] = {}
    for address in addresses:
        if (service := owners.get(address)) is not None:
            counts[service] = counts.get(service, 0) + 1
    return max(sorted(counts), key=lambda name: counts[name], default="?")


def _longest(found: list[Found]) -> Elapsed:
    if not found:
        return Elapsed(0.0, reached=True)
    # what is still wrong has lasted at least that long: it outranks what is over only by length
    worst = max(found, key=lambda each: (each.stretch.seconds, each.stretch.open))
    stretch = worst.stretch
    words = f"{stretch.address} ({stretch.task}) at {worst.place}"
    return Elapsed(stretch.seconds, reached=not stretch.open, last=words)
