"""Load on a deployed workload: started, watched and stopped from here, made by a child process."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

import harness
from harness.errors import LoadError, UsageError, WaitTimeout
from harness.load.outcome import Outcome
from harness.load.plan import PLAN_VARIABLE, Event, Plan
from harness.load.timetable import Stage, Timetable
from harness.load.traffic import Account, Connections, Request, Requests, Unasked, account, fates
from harness.trial import Trial, read_lines
from harness.wait import NotYet, wait_for

GENERATOR = "harness.load.locustfile"
"""The program that makes a load."""

START_WITHIN = 120.0
"""Seconds Locust gets to import itself and begin: well under 1 s on a host, but an emulated guest
of some hundred MIPS with a swarm next to it needs many times that."""

STOP_WITHIN = 15.0
"""Seconds, beyond the requests' own timeout, that Locust gets to stop before it is killed."""

USERS_PER_KIND = 2
"""Users of each entry and kind of connections, if nothing else is said."""

T = TypeVar("T", Request, Event)

MOST_PER_USER = 100.0
"""Requests a second of one user beyond which a timer's grain shows; take more users instead."""


_ERROR_LINE = re.compile(r"[A-Za-z_.]*(Error|Exception)\b")


class Place(Protocol):
    """Where a load comes from: the lab's client host, or anything that can start a program."""

    def run_module(
        self, module: str, *, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Run a Python module there, its output appended to ``log``, its standard input a pipe."""
        ...


class HttpTarget(Protocol):
    """What a deployed workload offers to a load."""

    @property
    def entries(self) -> Mapping[str, str]:
        """Base URL by the name of the node that is asked."""
        ...

    @property
    def path(self) -> str:
        """The path to ask for."""
        ...


class Load:
    """The fixture ``load``: makes traffic from ``place``, recorded in ``trial``.

    ::

        with load.http(web) as traffic:
            ...
        measure(LOST, traffic.share_lost)
    """

    def __init__(self, place: Place, trial: Trial) -> None:
        self._place = place
        self._trial = trial

    def http(
        self,
        target: HttpTarget,
        *,
        users: int | None = None,
        per_user: float = 1.0,
        shape: Sequence[tuple[float, int]] | None = None,
        timeout: float = 10.0,
        path: str | None = None,
        connections: Connections | Literal["both"] = "both",
    ) -> Traffic:
        """Make HTTP traffic for as long as the ``with`` block lasts.

        ``users`` each ask ``per_user`` times a second, spread evenly, each of one entry node for
        good (round robin); None is two users for each entry and kind of connections. ``shape``
        sets the number of users by (seconds, users) instead; its last stage lasts until the end.
        ``timeout``, in seconds, is for an entire request, connecting included. Raises
        :class:`UsageError` for what cannot be meant.

        Half the users of each entry keep their connections, half take a new one for every request
        (``Requests.over("new")``); ``connections`` has all of them do one or the other. Where a
        swarm sends new connections is not seen by users who have one, and the other way round.

        The rate decides what can be seen: a gap at an entry is known to within the time between
        two requests of one kind there (:attr:`Traffic.resolution`). Two users once a second, the
        default, see nothing below 0.5 s; ``per_user=10`` sees 0.05 s. A share is a multiple of one
        request: at that rate a minute's requests to one entry of one kind know it to 1 in 120.
        """
        entries = dict(target.entries)
        asked = target.path if path is None else path
        kinds = _kinds(connections)
        if users is None:
            users = USERS_PER_KIND * len(entries) * len(kinds)
        stages = tuple(
            Stage(float(seconds), count)
            for seconds, count in (shape if shape is not None else ((1.0, users),))
        )
        _check(stages, per_user, timeout, entries, asked, kinds)
        plan = Plan(
            load=_next_number(self._trial),
            origin=self._trial.clock.origin,
            timetable=Timetable(stages, float(per_user)),
            entries=tuple(entries.items()),
            connections=kinds,
            path=asked,
            timeout=float(timeout),
            requests=str(self._trial.samples("requests").absolute()),
            events=str(self._trial.samples("generator").absolute()),
        )
        return Traffic(self._place, self._trial, plan)


class Traffic:
    """One load: a context manager, and afterwards the requests it made.

    Entering returns once every entry node was asked and answered, or failed to. Leaving lets the
    requests under way have their answers (at most the timeout) and adds the trial's doubts if the
    generator was not up to its task. All that asks about requests asks, while the load runs, about
    those written so far (at most half a second old).
    """

    def __init__(self, place: Place, trial: Trial, plan: Plan) -> None:
        self._place = place
        self._trial = trial
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self._final: Requests | None = None
        self._account: Account | None = None
        self._overload = math.inf  # from when on more was asked than can be expected
        self._log = trial.folder / "logs" / "locust.log"
        self._log_from = 0

    def __enter__(self) -> Self:
        if self._process is not None:
            raise UsageError("this load has already run", hint="call load.http for another one")
        self._start()
        try:
            begun = self._until("Locust to begin", START_WITHIN, self._begun)
            self._trial.journal.write(
                "load.start",
                load=self._plan.load,
                begun=begun,
                users=self._plan.timetable.users,
                per_user=self._plan.timetable.per_user,
                shape=[[s.seconds, s.users] for s in self._plan.timetable.stages],
                users_per_entry=self._plan.users_per_entry(),
                connections=self._plan.connections,
                resolution=self.resolution,
                entries=dict(self._plan.entries),
                path=self._plan.path,
                timeout=self._plan.timeout,
            )
            self._until("every entry to be asked once", self._first_within(), self._all_asked)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def snapshot(self) -> Requests:
        """Return the requests that are on disk so far; those under way are not among them."""
        if self._final is not None:
            return self._final
        return Requests(_read(Path(self._plan.requests), Request, self._plan.load))

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests, in the order of their start."""
        return self.snapshot().all

    def stage(self, number: int) -> Requests:
        """Return the requests that were due in a stage of the load's shape, from 0.

        Raises :class:`UsageError` for a stage that the shape does not have.
        """
        return self.snapshot().due_in(*self._span(number))

    def account_of(self, number: int) -> Account:
        """Return the account of one stage of the load's shape, from 0; after the end only."""
        if self._final is None:
            raise self._still_running()
        since, until = self._span(number)
        return self._account_between(since, until)

    def overload_from(self, number: int) -> None:
        """Say that the load was meant to be too much from a stage on: no doubt arises from it.

        A generator that shares its processors with what it asks falls behind when these are at
        their limit. Called before the load ends; whose limit it was, :meth:`account_of` says.
        """
        self._overload = self._span(number)[0]

    @property
    def account(self) -> Account:
        """Where the requests of the timetable went. Raise :class:`LoadError` before the end."""
        if self._account is None:
            raise self._still_running()
        return self._account

    @property
    def resolution(self) -> float:
        """Seconds between two requests of one kind at one entry, at worst: no gap is known better.

        Of the plan; also in the journal's ``load.start``.
        """
        return round(self._plan.resolution(), 6)

    @property
    def unsent(self) -> int:
        """How many requests the generator itself failed to send, or failed in by itself."""
        return self.account.unsent + self.account.client

    @property
    def count(self) -> int:
        """See :attr:`Requests.count`."""
        return self.snapshot().count

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """See :attr:`Requests.outcomes`."""
        return self.snapshot().outcomes

    def share(self, *outcomes: Outcome) -> float | None:
        """See :meth:`Requests.share`."""
        return self.snapshot().share(*outcomes)

    @property
    def share_lost(self) -> float | None:
        """See :attr:`Requests.share_lost`."""
        return self.snapshot().share_lost

    @property
    def losses(self) -> dict[str, float]:
        """See :attr:`Requests.losses`."""
        return self.snapshot().losses

    @property
    def share_unserved(self) -> float | None:
        """See :attr:`Requests.share_unserved`."""
        return self.snapshot().share_unserved

    @property
    def share_of_50x(self) -> float | None:
        """See :attr:`Requests.share_of_50x`."""
        return self.snapshot().share_of_50x

    @property
    def share_of_errors(self) -> float | None:
        """See :attr:`Requests.share_of_errors`."""
        return self.snapshot().share_of_errors

    def window(self, t0: float, t1: float) -> Requests:
        """See :meth:`Requests.window`."""
        return self.snapshot().window(t0, t1)

    def of_entry(self, entry: str) -> Requests:
        """See :meth:`Requests.of_entry`."""
        return self.snapshot().of_entry(entry)

    def over(self, connections: Connections) -> Requests:
        """See :meth:`Requests.over`."""
        return self.snapshot().over(connections)

    def elsewhere(self, entry: str) -> Requests:
        """See :meth:`Requests.elsewhere`."""
        return self.snapshot().elsewhere(entry)

    def longest_gap(self, entry: str | None = None) -> float | None:
        """See :meth:`Requests.longest_gap`. Raise :class:`UsageError` for an unknown ``entry``."""
        if entry is not None and entry not in dict(self._plan.entries):
            known = ", ".join(name for name, _ in self._plan.entries)
            raise UsageError(
                f"{entry!r} is not an entry of this load", hint=f"its entries: {known}"
            )
        return self.snapshot().longest_gap(entry)

    def gaps_by_entry(self) -> dict[str, float]:
        """See :meth:`Requests.gaps_by_entry`."""
        return self.snapshot().gaps_by_entry()

    def latency(self, percent: float) -> float | None:
        """See :meth:`Requests.latency`."""
        return self.snapshot().latency(percent)

    @property
    def p50(self) -> float | None:
        """See :attr:`Requests.p50`."""
        return self.snapshot().p50

    @property
    def p99(self) -> float | None:
        """See :attr:`Requests.p99`."""
        return self.snapshot().p99

    def _start(self) -> None:
        # The child may run in another working folder, and pytest may have found the harness in
        # a way the child would not: both get the path of this very package.
        above = str(Path(harness.__file__).parent.parent)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH")])),
            PLAN_VARIABLE: msgspec.json.encode(self._plan).decode(),
        }
        try:
            self._log_from = self._log.stat().st_size if self._log.exists() else 0
            self._process = self._place.run_module(
                GENERATOR, environment=environment, log=self._log
            )
        except OSError as error:
            raise LoadError(f"cannot start Locust: {error}") from error

    def _until(self, state: str, within: float, predicate: Any) -> Any:
        """Return ``predicate``'s value; :class:`LoadError`, with Locust's output, if none comes."""

        def alive_and() -> Any:
            assert self._process is not None
            code = self._process.poll()
            if code is not None:
                raise LoadError(
                    f"Locust ended with exit code {code} before it could be used: "
                    f"{self._log_tail()}",
                    hint=f"its output is in {self._log}",
                )
            return predicate()

        try:
            return wait_for(alive_and, state=state, within=within)
        except WaitTimeout as timeout:
            raise LoadError(
                f"Locust does not start: {timeout.what}; its output: {self._log_tail()}",
                hint=f"its output is in {self._log}",
            ) from timeout

    def _begun(self) -> float | NotYet:
        for event in self._events():
            if event.kind == "begun":
                return event.t
        return NotYet("nothing written")

    def _all_asked(self) -> bool | NotYet:
        missing = self._first_entries() - set(self.snapshot().entries)
        return NotYet(f"no request yet to {', '.join(sorted(missing))}") if missing else True

    def _first_entries(self) -> set[str]:
        """The entries that the users of the first stage with any users ask."""
        return {self._plan.entry_of(user)[0] for user in range(self._first_stage()[1])}

    def _first_within(self) -> float:
        """Seconds in which each of those has been asked, even if none answers."""
        idle, _ = self._first_stage()
        return idle + 1 / self._plan.timetable.per_user + self._plan.timeout + START_WITHIN / 4

    def _first_stage(self) -> tuple[float, int]:
        """Seconds before the first stage that has users, and how many it has."""
        idle = 0.0
        for stage in self._plan.timetable.stages:
            if stage.users:
                return idle, stage.users
            idle += stage.seconds
        raise UsageError("a load without users")

    def _stop(self) -> None:
        """End the child, read what it left, and record what there is to doubt."""
        if self._process is None or self._final is not None:
            return
        doubts = self._end(self._process)
        requests = self.snapshot()
        events = self._events()
        times = {event.kind: event.t for event in events}
        begun = times.get("begun")
        self._account = self._account_between(-math.inf, math.inf)
        stopped = times.get("stopping", max((r.done for r in requests.all), default=0.0))
        slots = fates(
            requests.all,
            self._plan.timetable,
            begun=stopped if begun is None else begun,
            stopped=stopped,
        )
        unasked = [
            Unasked(
                t=due,
                entry=self._plan.entry_of(user)[0],
                user=user,
                connection=self._plan.connections_of(user),
            )
            for user, due, fate in slots
            if fate == "blocked"
        ]
        self._final = Requests(requests.all, unasked)
        ended = [event for event in events if event.kind == "ended"]
        if ended and ended[0].requests != requests.count:
            doubts.append(
                f"Locust counted {ended[0].requests} requests and {requests.count} are on disk"
            )
        if begun is not None:
            self._trial.journal.write(
                "load.stop",
                requests=requests.count,
                outcomes=requests.outcomes,
                load=self._plan.load,
                stopped=stopped,
                cpu=ended[0].cpu if ended else None,
                locust=ended[0].locust if ended else None,
                **msgspec.structs.asdict(self._account),
            )
            doubts += self._account_between(-math.inf, self._overload).doubts()
        for doubt in doubts:
            self._trial.doubt(doubt)

    def _end(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Stop the child; return what was not as it should be."""
        doubts = []
        early = process.poll()
        if early is not None:
            doubts.append(f"Locust ended early, with exit code {early}: {self._log_tail()}")
        else:
            process.terminate()
            within = self._plan.timeout + STOP_WITHIN
            try:
                code = wait_for(lambda: _exit_of(process), state="Locust to stop", within=within)
            except WaitTimeout:
                process.kill()
                process.wait()
                doubts.append(f"Locust did not stop within {within:g} s and was killed")
            else:
                if code != 0:
                    doubts.append(f"Locust ended with exit code {code}: {self._log_tail()}")
        if process.stdin is not None:
            process.stdin.close()
        if not doubts and "Traceback (most recent call last)" in self._said():
            doubts.append(f"an exception was raised inside Locust: {self._log_tail()}")
        return doubts

    def _still_running(self) -> LoadError:
        return LoadError(
            "the load is still running: what it did not send is only known at its end",
            hint="ask after the with block",
        )

    def _span(self, number: int) -> tuple[float, float]:
        """Trial times between which a stage's slots are due."""
        stages = self._plan.timetable.stages
        if not 0 <= number < len(stages):
            raise UsageError(
                f"{number} is not a stage of this load", hint=f"it has {len(stages)}, from 0"
            )
        begun = next((event.t for event in self._events() if event.kind == "begun"), math.inf)
        since = begun + sum(stage.seconds for stage in stages[:number])
        last = number == len(stages) - 1
        return since, math.inf if last else since + stages[number].seconds

    def _account_between(self, since: float, until: float) -> Account:
        """Return the account of what was due then; that the load has ended is given."""
        requests, events = self.snapshot().all, self._events()
        times = {event.kind: event.t for event in events}
        stopped = times.get("stopping", max((r.done for r in requests), default=0.0))
        return account(
            requests,
            self._plan.timetable,
            begun=times.get("begun", stopped),
            stopped=stopped,
            stalls=[e.seconds for e in events if e.kind == "stall" and since <= e.t < until],
            since=since,
            until=until,
        )

    def _events(self) -> list[Event]:
        return _read(Path(self._plan.events), Event, self._plan.load)

    def _said(self) -> str:
        try:
            return self._log.read_bytes()[self._log_from :].decode(errors="replace")
        except OSError:
            return ""

    def _log_tail(self) -> str:
        """Return the one line of Locust's output to quote: the last error's, else the last."""
        lines = [line.strip() for line in self._said().splitlines() if line.strip()]
        # gevent says which greenlet fell over after it has said what it fell over.
        errors = [line for line in lines if _ERROR_LINE.match(line)]
        return (errors or lines or ["(nothing)"])[-1]


def _kinds(connections: str) -> tuple[Connections, ...]:
    """Return the kinds of connections that users take; :class:`UsageError` if they are unknown."""
    kinds: dict[str, tuple[Connections, ...]] = {
        "both": ("kept", "new"),
        "kept": ("kept",),
        "new": ("new",),
    }
    if connections not in kinds:
        raise UsageError(
            f"{connections!r} is not a way to connect", hint=f"give one of {', '.join(kinds)}"
        )
    return kinds[connections]


def _next_number(trial: Trial) -> int:
    trial.loads += 1
    return trial.loads


def _exit_of(process: subprocess.Popen[bytes]) -> int | NotYet:
    code = process.poll()
    return NotYet("still running") if code is None else code


def _read(path: Path, kind: type[T], load: int) -> list[T]:
    """The lines of one load in a samples file that its generator may be writing still."""
    if not path.exists():
        return []
    return [msgspec.convert(line, kind) for line in read_lines(path) if line["load"] == load]


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for an invalid port
    except ValueError:
        return False
    plain = url.isascii() and not any(c <= " " for c in url)
    return plain and parts.scheme == "http" and bool(parts.hostname) and not parts.query


def _check(
    stages: Sequence[Stage],
    per_user: float,
    timeout: float,
    entries: Mapping[str, str],
    path: str,
    kinds: Sequence[Connections],
) -> None:
    """Raise :class:`UsageError` for a load that cannot be meant."""
    if not entries:
        raise UsageError("the target of a load has no entry node to ask")
    if not stages or any(s.users < 0 or not 0 < s.seconds < math.inf for s in stages):
        said = [(stage.seconds, stage.users) for stage in stages]
        raise UsageError(
            f"{said} is not a valid load shape: give a list of (seconds, users)",
            hint="seconds above 0, users 0 or more, at least one stage",
        )
    most = max(stage.users for stage in stages)
    if most < 1:
        raise UsageError("a load needs at least one user")
    if not 0 < per_user <= MOST_PER_USER:
        raise UsageError(
            f"{per_user:g} is not a valid rate per user",
            hint=f"give a number above 0, at most {MOST_PER_USER:g}; for more load use more users",
        )
    if not 0 < timeout < math.inf:
        raise UsageError(f"{timeout:g} is not a valid timeout: give a number of seconds above 0")
    if most < (needed := len(entries) * len(kinds)):
        ways = " over both kinds of connections" if len(kinds) > 1 else ""
        other = ', or have all connect in one way: connections="kept"' if len(kinds) > 1 else ""
        raise UsageError(
            f"{most} users cannot ask {len(entries)} entry nodes{ways}",
            hint=f"each user asks one node in one way: use at least {needed} users{other}",
        )
    for name, url in entries.items():
        if not _is_base_url(url):
            raise UsageError(f"{url!r}, the entry {name}, is not an http:// address")
    if not path.startswith("/") or not path.isascii() or any(c <= " " for c in path):
        raise UsageError(
            f"{path!r} is not a valid path: start it with /, without blanks or control characters"
        )
