"""What each manager's API answers: to a write and to a question, how fast, and with which error.

Every manager is asked by itself, once a second: to list the managers (whom does it reach, who
leads), and to create a secret, which needs raft's agreement (and is removed again). A request is
given more time than the engine takes to give up by itself, so that the engine's own words are
heard.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.errors import LabError, UsageError
from harness.lab import Node
from harness.lab.client import UnixConnection
from harness.probes.sampling.threads import doubt_ended
from harness.trial import Trial
from harness.wait import Elapsed, Moment, NotYet, monotonic_moment, time_until, trial_moment

#: Seconds between the beginnings of two rounds at a manager.
EVERY = 1.0

#: Seconds that a request is given. moby gives up after 20 (daemon/cluster, swarmRequestTimeout).
TIMEOUT = 30.0

_PREFIX = "api-probe-"

#: What a daemon's error means, by its words.
_WORDS: tuple[tuple[str, str], ...] = (
    ("does not have a leader", "no leader"),
    ("not a swarm manager", "no manager"),
    ("node lost leader", "lost leader"),
    ("context deadline exceeded", "deadline"),
    ("DeadlineExceeded", "deadline"),
    ("context canceled", "canceled"),
    ("connection error", "unavailable"),
    ("Unavailable", "unavailable"),
    ("connection refused", "unavailable"),
    ("raft is stopped", "no manager"),
)

_UNANSWERED = ("timeout", "under way")

Op = Literal["read", "write"]


@dataclass(frozen=True)
class Asked:
    """A request to a manager: ``t`` and ``took`` in seconds.

    ``outcome``: ok; by the daemon's words: no leader, lost leader, deadline, no manager,
    unavailable, canceled, error (any other); of the connection: refused, reset, timeout.
    ``leader`` and ``reachable``: of a read that was answered, who leads and how many managers
    are reachable, by this manager's view.
    """

    t: float
    by: str
    op: Op
    took: float
    outcome: str
    error: str = ""
    leader: str | None = None
    reachable: int | None = None
    managers: int | None = None


class Api:
    """The probe on the managers. :meth:`watch` is a context manager.

    ::

        with api.watch(), faults.kill_dockerd(leader) as outage:
            took = api.time_to_all("write", since=outage, within=45)
    """

    def __init__(self, managers: Iterable[Node], trial: Trial) -> None:
        self._managers = list(managers)
        self._trial = trial
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections: dict[str, UnixConnection] = {}
        self._under_way: dict[str, Asked] = {}
        self._left: set[str] = set()

    @contextmanager
    def watch(self, *, every: float = EVERY, writes: bool = True) -> Iterator[Api]:
        """Ask every manager while the block lasts; with ``writes``, have them write too."""
        self.start(every=every, writes=writes)
        try:
            yield self
        finally:
            self.close()

    def start(self, *, every: float = EVERY, writes: bool = True) -> None:
        """Start asking."""
        if self._threads:
            raise UsageError("the API is already being watched")
        self._stop.clear()
        for node in self._managers:
            thread = threading.Thread(
                target=self._sample,
                args=(node, every, writes),
                name=f"api-{node.name}",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop, remove secrets left behind, and write ``samples/api.jsonl``."""
        if not self._threads:
            return
        doubt_ended("api", self._threads, self._trial)
        self._stop.set()
        with self._lock:
            for connection in self._connections.values():
                if connection.sock is not None:
                    with suppress(OSError):
                        connection.sock.shutdown(2)
        for thread in self._threads:
            thread.join(timeout=TIMEOUT)
        self._threads = []
        self._tidy()
        self._trial.write_samples("api", self._rows())

    # -- what it heard -------------------------------------------------------------------------

    def asked(
        self,
        op: Op | None = None,
        *,
        by: Node | None = None,
        since: Moment = 0.0,
        until: float | None = None,
    ) -> list[Asked]:
        """Return the requests that began from ``since`` to ``until`` (trial seconds), by time."""
        began = trial_moment(since)
        with self._lock:
            asked = list(self._asked)
        return sorted(
            (
                each
                for each in asked
                if (op is None or each.op == op)
                and (by is None or each.by == by.name)
                and each.t >= began
                and (until is None or each.t < until)
            ),
            key=lambda each: (each.t, each.by, each.op),
        )

    def outcomes(
        self, op: Op | None = None, *, since: Moment = 0.0, until: float | None = None
    ) -> dict[str, int]:
        """Return how many requests had which outcome."""
        counts = Counter(each.outcome for each in self.asked(op, since=since, until=until))
        return dict(sorted(counts.items()))

    def slowest(
        self, op: Op | None = None, *, since: Moment = 0.0, until: float | None = None
    ) -> Elapsed:
        """Return the longest time that a request took, whatever its outcome.

        ``reached`` False: it was given up unanswered, or still waits; or nothing was asked, of
        which nothing is known.
        """
        asked = [
            *self.asked(op, since=since, until=until),
            *self._waiting(op, trial_moment(since), until),
        ]
        if not asked:
            return Elapsed(0.0, reached=False, last="nothing was asked")
        worst = max(asked, key=lambda each: each.took)
        words = f"{worst.op} at {worst.by}: {worst.outcome}"
        return Elapsed(worst.took, reached=worst.outcome not in _UNANSWERED, last=words)

    def unclear(self, *, since: Moment = 0.0, until: float | None = None) -> list[Asked]:
        """Return requests that ended without saying what is wrong: timeout, or any other error."""
        asked = self.asked(since=since, until=until)
        return [each for each in asked if each.outcome in ("timeout", "deadline", "error")]

    def time_to_all(
        self, op: Op, *, within: float, since: Moment, managers: Iterable[Node] | None = None
    ) -> Elapsed:
        """Measure the time from ``since`` (monotonic) until every manager answered one."""
        start = self._trial.clock.at(monotonic_moment(since))
        wanted = {node.name for node in (self._managers if managers is None else managers)}

        def answered() -> float | NotYet:
            done: dict[str, float] = {}
            last: dict[str, str] = {}
            for each in self.asked(op, since=start):
                last[each.by] = each.outcome
                if each.outcome == "ok":
                    done.setdefault(each.by, each.t + each.took)
            if late := sorted(wanted - done.keys()):
                return NotYet(
                    ", ".join(f"{name}: {last.get(name, 'nothing yet')}" for name in late)
                )
            return max(done[name] for name in wanted)

        seen = time_until(
            answered, state=f"a {op} at every manager", within=within, every=0.1, since=since
        )
        at = answered()
        if not seen.reached or isinstance(at, NotYet):
            return seen
        return Elapsed(round(at - start, 6), reached=True)

    # -- within --------------------------------------------------------------------------------

    def _sample(self, node: Node, every: float, writes: bool) -> None:
        number = 0
        while not self._stop.is_set():
            began = self._trial.clock.now()
            self._keep(self._read(node))
            if writes and not self._stop.is_set():
                number += 1
                self._keep(self._write(node, f"{_PREFIX}{node.name}-{number}"))
            self._stop.wait(max(0.05, every - (self._trial.clock.now() - began)))

    def _waiting(self, op: Op | None, since: float, until: float | None) -> list[Asked]:
        """Requests under way that began in that time."""
        now = self._trial.clock.now()
        with self._lock:
            waiting = list(self._under_way.values())
        return [
            replace(each, took=round(now - each.t, 6))
            for each in waiting
            if (op is None or each.op == op)
            and each.t >= since
            and (until is None or each.t < until)
        ]

    def _keep(self, asked: Asked) -> None:
        if self._stop.is_set() and asked.outcome != "ok":
            return  # cut off by the end of the watching
        with self._lock:
            self._asked.append(asked)

    def _read(self, node: Node) -> Asked:
        filters = '/nodes?filters={"role":["manager"]}'.replace('"', "%22")
        asked, body = self._send(node, "read", "GET", filters)
        if asked.outcome != "ok" or not isinstance(body, list):
            return asked
        status = {
            each.get("Description", {}).get("Hostname", ""): each.get("ManagerStatus") or {}
            for each in body
        }
        leaders = [name for name, manager in status.items() if manager.get("Leader")]
        reachable = sum(m.get("Reachability") == "reachable" for m in status.values())
        return Asked(
            asked.t,
            asked.by,
            asked.op,
            asked.took,
            asked.outcome,
            leader=leaders[0] if leaders else None,
            reachable=reachable,
            managers=len(status),
        )

    def _write(self, node: Node, name: str) -> Asked:
        data = base64.b64encode(b"x").decode()
        self._left.add(name)
        asked, body = self._send(
            node, "write", "POST", "/secrets/create", {"Name": name, "Data": data, "Labels": {}}
        )
        if asked.outcome == "ok" and isinstance(body, dict) and "ID" in body:
            removed, _ = self._send(node, "write", "DELETE", f"/secrets/{body['ID']}")
            if removed.outcome == "ok":
                self._left.discard(name)
        return asked

    def _send(
        self, node: Node, op: Op, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[Asked, Any]:
        t = self._trial.clock.now()
        status, said = 0, ""
        outcome = ""
        connection = None
        try:
            connection = UnixConnection(node.dockerd.socket, TIMEOUT)
            with self._lock:
                self._connections[node.name] = connection
                self._under_way[node.name] = Asked(t, node.name, op, 0.0, "under way")
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Content-Type": "application/json"} if body is not None else {},
            )
            response = connection.getresponse()
            status, said = response.status, response.read().decode(errors="replace")
        except TimeoutError:
            outcome = "timeout"
        except (ConnectionRefusedError, FileNotFoundError, LabError):
            outcome = "refused"
        except (OSError, http.client.HTTPException):
            outcome = "reset"
        finally:
            with self._lock:
                self._under_way.pop(node.name, None)
            if connection is not None:
                connection.close()
        took = round(self._trial.clock.now() - t, 6)
        found: Any = None
        with suppress(ValueError):
            found = json.loads(said) if said else None
        words = ""
        if not outcome:
            words = str(found.get("message", said)) if isinstance(found, dict) else said
            outcome = outcome_of(status, words)
        return Asked(
            t, node.name, op, took, outcome, "" if outcome == "ok" else words.strip()
        ), found

    def _tidy(self) -> None:
        """Remove what requests that were cut off may have left."""
        if not self._left:
            return
        for node in self._managers:
            with suppress(OSError, ValueError, http.client.HTTPException, LabError):
                for each in _answer(node, "GET", "/secrets") or []:
                    if each["Spec"]["Name"] in self._left:
                        _answer(node, "DELETE", f"/secrets/{each['ID']}")
                return

    def _rows(self) -> Iterator[dict[str, Any]]:
        for each in self.asked():
            yield {
                "t": each.t,
                "by": each.by,
                "op": each.op,
                "took": each.took,
                "outcome": each.outcome,
                "error": each.error,
                "leader": each.leader,
                "reachable": each.reachable,
                "managers": each.managers,
            }


def outcome_of(status: int, words: str) -> str:
    """Return what an answer means, by its status and the daemon's message."""
    if 200 <= status < 300:
        return "ok"
    for sign, outcome in _WORDS:
        if sign in words:
            return outcome
    return "error"


def _answer(node: Node, method: str, path: str) -> Any:
    connection = UnixConnection(node.dockerd.socket, timeout=5.0)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        if response.status >= http.client.BAD_REQUEST:
            raise ValueError(f"{path} answers {response.status}")
        return json.loads(body) if body else None
    finally:
        connection.close()
