"""A service's tasks: how many truly run, twins in one slot, and what the managers say of them.

What runs is read from the containers (:mod:`harness.probes.containers`); the states and errors that
a manager lists are read twice a second, each with the time at which the agent saw it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.errors import UsageError
from harness.lab import Node
from harness.probes.containers import Containers, Life
from harness.probes.sampling.timestamps import epoch_seconds, to_trial_time
from harness.swarm import Deployment, NoAnswer
from harness.trial import Trial
from harness.wait import Elapsed, Moment, NotYet, monotonic_moment, time_until, trial_moment

#: Seconds between two looks at the managers' list. To look is work for them: ten a second double
#: what an emulated guest has to do.
EVERY = 0.5


@dataclass(frozen=True)
class State:
    """A state of a task as a manager listed it; ``t`` is when the agent saw it (trial seconds)."""

    t: float
    task: str
    service: str
    slot: int | None
    node: str
    state: str
    desired: str
    error: str


@dataclass(frozen=True)
class Twins:
    """Two or more containers of one slot that ran at the same time, from ``began`` to ``ended``."""

    service: str
    slot: str
    tasks: tuple[str, ...]
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return round(self.ended - self.began, 6)


class Tasks:
    """The probe: containers are watched from when it is made, the managers' list by :meth:`watch`.

    ::

        with faults.kill_node(worker) as outage:
            took = tasks.time_to_running("app", count=4, since=outage, within=60)
    """

    def __init__(self, containers: Containers, trial: Trial) -> None:
        self._containers = containers
        self._trial = trial
        self._lock = threading.Lock()
        self._history: dict[tuple[str, str, str], State] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        containers.start()  # what ran before the first question would else never be known

    # -- what truly runs -----------------------------------------------------------------------

    def at(self, monotonic: float) -> float:
        """Return a reading of the monotonic clock as trial time, in which ``since`` is given."""
        return self._trial.clock.at(monotonic)

    def running(self, service: str) -> list[Life]:
        """Return the containers of a service that run now."""
        return self._containers.running_now(service)

    def lives(self, service: str | None = None) -> list[Life]:
        """Return all containers seen so far, by their start."""
        return self._containers.lives(service)

    def time_to_running(
        self,
        service: str,
        count: int,
        *,
        within: float,
        since: Moment,
        avoiding: Node | None = None,
        fresh: bool = False,
    ) -> Elapsed:
        """Measure the time from ``since`` (monotonic) until ``count`` containers ran at once.

        None is counted on the node ``avoiding``; with ``fresh``, only what was started after
        ``since``. By the containers' own times: no manager is asked, and the looking costs no
        precision.
        """
        start = self._trial.clock.at(monotonic_moment(since))
        away = avoiding.name if avoiding is not None else ""
        seen = time_until(
            lambda: self._reached(service, count, start, away, fresh=fresh),
            state=f"{count} containers of {service} to run",
            within=within,
            every=0.1,
            since=since,
        )
        if not seen.reached:
            return seen
        at = self._reached(service, count, start, away, fresh=fresh)
        assert not isinstance(at, NotYet)
        return Elapsed(round(at - start, 6), reached=True)

    def fewest_serving(self, service: str, *, since: Moment, until: float | None = None) -> int:
        """Return how many tasks of a service served at once, at the worst moment (trial seconds).

        A task that swarm has taken out of service, to stop it, serves no more.
        """
        end = self._trial.clock.now() if until is None else until
        return fewest_serving(self.lives(service), since=trial_moment(since), until=end)

    def twins(self, *, since: Moment = 0.0, service: str | None = None) -> list[Twins]:
        """Return slots with more than one container running at a time, from ``since`` (trial s) on.

        With swarm's own order of updates (stop first) and all nodes in reach there are none.
        """
        now = self._trial.clock.now()
        return list(twins_in(self.lives(service), since=trial_moment(since), until=now))

    # -- what managers list --------------------------------------------------------------------

    @contextmanager
    def watch(self, *deployments: Deployment, every: float = EVERY) -> Iterator[Tasks]:
        """Read the managers' list while the block lasts; then write ``samples/tasks.jsonl``."""
        self.start(*deployments, every=every)
        try:
            yield self
        finally:
            self.close()

    def start(self, *deployments: Deployment, every: float = EVERY) -> None:
        """Start reading the managers' list."""
        if self._thread is not None:
            raise UsageError("tasks are already being watched")
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._sample, args=(deployments, every), name="tasks", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop reading; safe to call twice."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(timeout=60.0)
        self._thread = None
        self._trial.write_samples("tasks", self._rows())
        if self._error is not None:
            self._trial.doubt(f"the tasks probe stopped early: {self._error}")

    def history(self, service: str | None = None) -> list[State]:
        """Return all states listed so far, by time; what came and went between two reads is not."""
        with self._lock:
            states = list(self._history.values())
        wanted = (state for state in states if service is None or state.service == service)
        return sorted(wanted, key=lambda state: (state.t, state.task, state.state))

    # -- within --------------------------------------------------------------------------------

    def _reached(
        self, service: str, count: int, start: float, avoiding: str, *, fresh: bool
    ) -> float | NotYet:
        lives = [life for life in self._containers.lives(service) if life.node != avoiding]
        if fresh:
            lives = [life for life in lives if life.started >= start]
        at = time_of(lives, count, since=start)
        if at is None:
            now = sum(life.ended is None for life in lives)
            return NotYet(f"{now} of {count} containers of {service} run")
        return at

    def _sample(self, deployments: Iterable[Deployment], every: float) -> None:
        try:
            while not self._stop.is_set():
                for made in deployments:
                    self._look(made)
                self._stop.wait(every)
        except BaseException as error:
            self._error = error

    def _look(self, made: Deployment) -> None:
        try:
            names = {id_: name for name, id_ in made.services.items()}
            nodes = {member.id: member.name for member in made.swarm.members()}
            listed = made.swarm.ask(lambda api: api.api.tasks())
        except NoAnswer:
            return
        offset = to_trial_time(self._trial.clock)
        for attrs in listed:
            if (service := names.get(attrs.get("ServiceID", ""))) is None:
                continue
            status = attrs["Status"]
            state = State(
                t=round(epoch_seconds(status.get("Timestamp", "")) + offset, 6),
                task=attrs["ID"],
                service=service,
                slot=attrs.get("Slot"),
                node=nodes.get(attrs.get("NodeID", ""), ""),
                state=status["State"],
                desired=attrs["DesiredState"],
                error=status.get("Err", ""),
            )
            with self._lock:
                self._history.setdefault((state.task, state.state, state.desired), state)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for state in self.history():
            yield {
                "t": state.t,
                "task": state.task,
                "service": state.service,
                "slot": state.slot,
                "node": state.node,
                "state": state.state,
                "desired": state.desired,
                "error": state.error,
            }


def time_of(lives: Iterable[Life], count: int, *, since: float) -> float | None:
    """Return the first time, from ``since`` on, at which ``count`` lives ran; None if not yet."""
    lives = list(lives)
    moments = sorted({since, *(life.started for life in lives if life.started > since)})
    for moment in moments:
        if sum(life.runs_at(moment) for life in lives) >= count:
            return moment
    return None


def fewest_serving(lives: Iterable[Life], *, since: float, until: float) -> int:
    """Return the smallest number of lives serving at one moment from ``since`` to ``until``."""
    spans = [
        (life.serving, min((t for t in (life.leaving, life.ended) if t is not None), default=None))
        for life in lives
        if life.serving is not None
    ]
    ends = [end for _, end in spans if end is not None and since < end < until]
    return min(
        sum(begun <= t and (end is None or t < end) for begun, end in spans) for t in [since, *ends]
    )


def twins_in(lives: Iterable[Life], *, since: float, until: float) -> Iterator[Twins]:
    """Stretches in which a slot had more than one life, cut to ``since``..``until``."""
    slots: dict[tuple[str, str], list[Life]] = {}
    for life in lives:
        slots.setdefault((life.service, life.slot), []).append(life)
    for (service, slot), own in sorted(slots.items()):
        edges = {since, until}
        for life in own:
            edges |= {t for t in (life.started, life.ended) if t is not None and since < t < until}
        last: Twins | None = None
        for began, ended in pairwise(sorted(edges)):
            running = tuple(sorted(life.task for life in own if life.runs_at(began)))
            if len(running) < 2:
                if last is not None:
                    yield last
                last = None
            elif last is not None and last.tasks == running:
                last = Twins(service, slot, running, last.began, ended)
            else:
                if last is not None:
                    yield last
                last = Twins(service, slot, running, began, ended)
        if last is not None:
            yield last
