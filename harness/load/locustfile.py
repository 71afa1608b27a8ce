"""The generator: Locust as a program of its own, ``python -m harness.load.locustfile``.

It is a child process because Locust and the harness cannot share one (Locust's import patches
what ``requests`` has loaded already, and recurses), and because it has to live in the client's
namespace. It uses Locust as a library: no web UI, no statistics printed, no configuration picked
up from the working folder or the environment.

It does not monkey-patch: all that blocks here is gevent's own. It ends on SIGTERM, letting the
requests under way have their answers, and at once when its standard input ends, which is how it
learns that its parent is dead.
"""

from __future__ import annotations

import itertools
import logging
import os
import resource
import signal
import sys
import time
from contextlib import suppress

os.environ.setdefault("LOCUST_SKIP_MONKEY_PATCH", "1")

import gevent
import gevent.event
import gevent.os
import locust
import locust.log
import msgspec
from locust.env import Environment
from locust.exception import CatchResponseError, StopUser
from locust.stats import RequestStats, StatsEntry

from harness.load.connection import Answer, Connection, endpoint
from harness.load.outcome import Outcome, outcome_of_code, outcome_of_error
from harness.load.plan import PLAN_VARIABLE, Event, LocustFigures, Plan
from harness.load.traffic import Request

PULSE = 0.1
"""Seconds between two turns of the pulse that notices a standing event loop."""

STALL = 0.25
"""A pulse later than this many seconds is recorded."""

FLUSH_EVERY = 3
"""Pulses between two writes to disk."""

PRIORITY = -10
"""The generator's niceness, where it may have it."""

NOBODY = Answer(0, "", "", unresolved=False)


class Lines:
    """An append-only file of JSON lines, written in whole lines and only on :meth:`flush`.

    Appending whole lines in one write keeps several generators of one trial from tearing each
    other's.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._waiting: list[bytes] = []

    def add(self, line: Request | Event) -> None:
        """Keep a line for the next flush."""
        self._waiting.append(msgspec.json.encode(line) + b"\n")

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            while data:
                data = data[os.write(self._descriptor, data) :]


class Generator:
    """One load, from the first slot of its timetable to SIGTERM."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requests = Lines(plan.requests)
        self.events = Lines(plan.events)
        self.begun = gevent.event.AsyncResult()
        self.stopping = gevent.event.Event()
        self.numbers = itertools.count()
        self.endpoints = {
            (name, kind): endpoint(url, plan.path, keep=kind == "kept")
            for name, url in plan.entries
            for kind in plan.connections
        }

    def now(self) -> float:
        """Trial time in seconds, to the microsecond."""
        return round(time.monotonic() - self.plan.origin, 6)

    def run(self) -> int:
        """Generate until SIGTERM; return the exit code, 1 if a user raised an exception."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops us
        gevent.signal_handler(signal.SIGTERM, self.stopping.set)
        gevent.spawn(self._end_with_parent)
        environment = Environment(
            user_classes=[user_class(self)],
            events=locust.events,
            stop_timeout=self.plan.timeout + 1,
        )
        environment.stats = RequestStats(use_response_times_cache=False)
        runner = environment.create_local_runner()
        users = self.plan.timetable.users
        runner.start(users, spawn_rate=users)
        begun, used = self.now(), _processor_seconds()
        self.begun.set(begun)
        self.events.add(Event(t=begun, kind="begun", load=self.plan.load))
        pulse = gevent.spawn(self._pulse)
        pulse.link_exception(lambda _: self.stopping.set())

        self.stopping.wait()
        self.events.add(Event(t=self.now(), kind="stopping", load=self.plan.load))
        runner.quit()
        pulse.kill()
        self.events.add(
            Event(
                t=self.now(),
                kind="ended",
                load=self.plan.load,
                requests=environment.stats.total.num_requests,
                cpu=round(_processor_seconds() - used, 6),
                locust=figures(environment.stats.total),
            )
        )
        self.requests.flush()
        self.events.flush()
        fell_over = pulse.exception or runner.exceptions or locust.log.unhandled_greenlet_exception
        return 1 if fell_over else 0

    def _pulse(self) -> None:
        """Flush now and then, and record when the event loop stood still."""
        for beat in itertools.count():
            before = self.now()
            gevent.sleep(PULSE)
            late = self.now() - before - PULSE
            if late > STALL:
                self.events.add(
                    Event(t=self.now(), kind="stall", load=self.plan.load, seconds=round(late, 6))
                )
            if beat % FLUSH_EVERY == 0:
                self.requests.flush()
                self.events.flush()

    def _end_with_parent(self) -> None:
        while gevent.os.tp_read(0, 1):
            pass
        self.requests.flush()
        self.events.flush()
        os._exit(1)


def user_class(generator: Generator) -> type[locust.User]:
    """Locust's class of users for one generator; each user takes the next number."""
    plan = generator.plan
    timetable = plan.timetable

    class Visitor(locust.User):
        """Asks its entry node whenever its timetable says so and the last answer is there."""

        def __init__(self, environment: Environment) -> None:
            super().__init__(environment)
            self.number = next(generator.numbers)
            self.entry, _ = plan.entry_of(self.number)
            self.kind = plan.connections_of(self.number)
            where = generator.endpoints[self.entry, self.kind]
            self.connection = Connection(where, plan.timeout)
            self.slot: float | None = None

        def wait_time(self) -> float:
            """Seconds until the next slot; what was due while waiting for an answer is gone."""
            since = generator.now() - generator.begun.get()
            # The first slot counts even if this user is a little late for it, and a timer that
            # went off a little early must not find the slot it was set for once more.
            after = -1.0 if self.slot is None else max(since, self.slot)
            self.slot = timetable.next_slot(self.number, after)
            if self.slot is None:
                raise StopUser
            return max(0.0, float(self.slot - since))

        @locust.task
        def visit(self) -> None:
            """One request, and its line."""
            if self.slot is None:  # Locust runs a task before it first waits
                return
            # A user whose timer goes off just when Locust kills it for waiting would begin a
            # request and die in it, and it would not be recorded.
            if generator.stopping.is_set():
                return
            answer = NOBODY
            error: Exception | None = None
            outcome: Outcome
            started = generator.now()
            try:
                answer = self.connection.get()
                outcome = outcome_of_code(answer.code)
                if outcome != "ok":  # for Locust's own figures
                    error = CatchResponseError(f"status {answer.code}")
            except OSError as trouble:
                error, outcome = trouble, outcome_of_error(trouble)
            took = round(generator.now() - started, 6)
            generator.requests.add(
                Request(
                    t=started,
                    took=took,
                    code=answer.code,
                    outcome=outcome,
                    entry=self.entry,
                    connection=self.kind,
                    unresolved=answer.unresolved,
                    task=answer.task,
                    node=answer.node,
                    due=round(generator.begun.get() + self.slot, 6),
                    user=self.number,
                    load=plan.load,
                )
            )
            self.environment.events.request.fire(
                request_type="GET",
                name=self.entry,
                response_time=took * 1000,
                response_length=0,
                exception=error,
                context={},
            )

        def on_stop(self) -> None:
            """Leave no connection behind."""
            self.connection.close()

    return Visitor


def figures(total: StatsEntry) -> LocustFigures:
    """Return what Locust's statistics say, in seconds."""
    p50, p95, p99 = (
        total.get_response_time_percentile(share) / 1000 for share in (0.5, 0.95, 0.99)
    )
    return LocustFigures(
        requests=total.num_requests,
        failures=total.num_failures,
        per_second=round(total.total_rps, 3),
        average=round(total.avg_response_time / 1000, 6),
        median=p50,
        p95=p95,
        p99=p99,
        longest=round(total.max_response_time / 1000, 6),
    )


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run the plan in the environment."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Users stand outside of the swarm and have processors of their own. Here they share the
    # nodes', so they go first: under load it is to be the swarm that falls behind.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    plan = msgspec.json.decode(os.environ[PLAN_VARIABLE], type=Plan)
    return Generator(plan).run()


if __name__ == "__main__":
    sys.exit(main())
