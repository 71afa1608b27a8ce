"""Mutation of the instrument: each part of it lies once, and the verdict must not be fooled.

A lie is planted into the real code: a probe that repeats itself, a fault that does nothing, a sink
that loses a line. What runs is the smallest trial that the honest instrument concludes as it
should (so it is said first whether it does), and the lie is caught if the same trial then fails or
is unknown, or, for a control, no longer fails as it must. Needs no node and no root.
"""

from __future__ import annotations

import http.server
import io
import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness.bench.metric import Metric
from harness.bench.trials import open_trial
from harness.errors import HarnessError, LabError
from harness.faults.kill import DockerdKilled
from harness.load import Request, Requests
from harness.probes import memory
from harness.probes.api import Api
from harness.probes.leadership import Leadership
from harness.probes.memory import MIB, Held, Memory
from harness.probes.sampling.log_tail import LogTail
from harness.pytest_plugin.thread_errors import threads_reported
from harness.services.servers.gelf_sink import Sink
from harness.services.servers.line_account import LineAccounts
from harness.trial import Expectation, Trial, TrialClock, TrialRecord, as_expected
from harness.wait import NotYet, wait_for

Body = Callable[[Trial, bool], None]


@dataclass(frozen=True)
class Lie:
    """``body`` runs a trial's scenario, honest or with the lie planted.

    ``control``: the expectations that the trial must break, as controls do.
    """

    name: str
    body: Body
    control: tuple[str, ...] = ()


def metrics() -> Iterator[Metric]:
    """Yield for each lie whether it was caught, and how many were of how many.

    Raises :class:`HarnessError` for a trial that does not come out as it should without its lie:
    that one "catches" whatever it is told.
    """
    caught = []
    for lie in LIES:
        if not as_expected(honest := told(lie, lying=False)):
            raise HarnessError(f"{lie.name}: the honest trial is not as expected: {honest.reason}")
        caught.append(as_expected(told(lie, lying=True)) is not True)
        yield Metric(f"lies.{lie.name}", float(caught[-1]), "1")
    yield Metric("lies.planted", len(caught), "1")
    yield Metric("lies.caught", sum(caught), "1")


def told(lie: Lie, *, lying: bool) -> TrialRecord:
    """Run a lie's trial, honest or lying, and return its record."""
    with tempfile.TemporaryDirectory(prefix="swarm-chaos-lies-") as scratch:
        clock = TrialClock(_fast(), _fast) if lying and lie.body is fast_clock else None
        trial = open_trial(Path(scratch, "trial"), control=bool(lie.control), clock=clock)
        error: Exception | None = None
        try:
            with threads_reported(trial.doubt), redirect_stderr(io.StringIO()):
                lie.body(trial, lying)
        except Exception as raised:
            error = raised
        return trial.finish(error, must_break=lie.control)


# -- stand-ins for what only a lab has ----------------------------------------------------------


@dataclass
class _Dockerd:
    """A process of ours in dockerd's place."""

    process: subprocess.Popen[bytes] | None = None
    socket: Path = Path()
    unkillable: bool = False

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        if self.process is None or not self.alive:
            raise LabError("it does not run")
        return self.process.pid

    def ping(self, timeout: float = 1.0) -> bool:  # noqa: ARG002 - the real one's
        return self.alive

    def kill(self) -> None:
        if self.process is not None and not self.unkillable:
            self.process.kill()
            self.process.wait()


@dataclass
class _Node:
    """A node as far as the instruments look at it."""

    name: str
    log: Path
    dockerd: _Dockerd = field(default_factory=_Dockerd)
    up: bool = True

    def metrics(self, timeout: float) -> str:  # noqa: ARG002 - the real one's
        raise LabError("it has no metrics")

    def start(self) -> None:
        self.dockerd = _Dockerd(_idle())


def _node(trial: Trial, **dockerd: Any) -> Any:
    return _Node("m1", trial.folder / "dockerd.log", _Dockerd(**dockerd))


def _idle() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


# -- a probe that repeats itself ----------------------------------------------------------------

GROWTH = Expectation("growth of memory", unit="MiB/s", at_most=2, source="the trial's own")
_GROWING = """
import time
held = []
while True:
    held.append(bytearray(b"x" * 1024 * 1024))
    time.sleep(0.05)
"""


@contextmanager
def _growing() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", _GROWING])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def repeated_sample(trial: Trial, lying: bool) -> None:
    """A control in which a process grows, and a sampler that returns its first value for ever."""
    first: list[Held] = []
    real = memory.held_by

    def repeating(node: Any, t: float) -> Held:
        first.append(real(node, t))
        return Held(t, node.name, first[0].pid, rss=first[0].rss, anonymous=first[0].anonymous)

    with _growing() as process, patch.object(memory, "held_by", repeating if lying else real):
        node, probe = _node(trial, process=process), Memory(trial, every=0.1)
        wait_for(lambda: (real(node, 0).rss or 0) > 16 * MIB or NotYet("small"), state="", within=9)
        probe.start([node])
        wait_for(lambda: len(probe.rows(node)) >= 20 or NotYet("few"), state="samples", within=20.0)
        probe.save()
        trend = probe.growth(node, "anonymous", since=0.0, until=trial.clock.now())
    trial.measures(GROWTH, None if trend is None else trend.slope / MIB)


ELECTION = Expectation("time to a new leader", unit="s", at_most=1, source="the trial's own")


def repeated_log(trial: Trial, lying: bool) -> None:
    """An election, and a log of which the reader returns what it once read."""
    real = LogTail.matches
    seen: dict[int, Any] = {}

    def repeating(tail: LogTail) -> Any:
        return seen.setdefault(id(tail), real(tail))

    with patch.object(LogTail, "matches", repeating if lying else real):
        node = _node(trial)
        log = node.log
        log.write_text(_elected(2))
        probe = Leadership([node], trial)
        probe.views()
        since = time.monotonic()
        with log.open("a") as file:
            file.write(_elected(3))
        trial.measures(ELECTION, probe.time_to_new_leader(since=since, within=ELECTION.limit))


def _elected(term: int) -> str:
    stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return f'time="{stamp}" level=info msg="raft.node: 1f elected leader 1f at term {term}"\n'


# -- a fault that does nothing ------------------------------------------------------------------

ALIVE = Expectation("dockerds that run", unit="1", at_most=1, source="the trial's own")


def idle_fault(trial: Trial, lying: bool) -> None:
    """A dockerd that is killed, and a kill that kills nothing."""
    node = _node(trial, process=_idle(), unkillable=lying)
    process = node.dockerd.process
    try:
        with DockerdKilled(trial, node):
            trial.measures(ALIVE, int(node.dockerd.alive))
    finally:
        for each in (process, node.dockerd.process):
            each.kill()
            each.wait()


# -- a sink that drops a line -------------------------------------------------------------------

LOST = Expectation("lines lost", unit="lines", at_most=0, source="the trial's own")
_LINES = 200


def dropped_line(trial: Trial, lying: bool) -> None:
    """A sink on the loopback that is sent lines, and forgets one of them."""
    real = LineAccounts.add

    def forgetful(account: LineAccounts, number: int) -> None:
        if number == _LINES // 2:
            account.arrived += 1
        else:
            real(account, number)

    with patch.object(LineAccounts, "add", forgetful if lying else real), _sink() as (sink, port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sender:
            for number in range(_LINES):
                said = f"seq={number} t=0.000000 task=a.1 x"
                sender.sendall(json.dumps({"short_message": said}).encode() + b"\0")
        wait_for(
            lambda: sink.state()["arrived"] == _LINES or NotYet("not all"),
            state="all lines to arrive",
            within=10.0,
        )
        [account] = sink.accounts({"a.1": _LINES}).values()
    trial.measures(LOST, account["lost"])


@contextmanager
def _sink() -> Iterator[tuple[Sink, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    sink = Sink(port, lambda _row: None, host="127.0.0.1")
    control, hold = os.pipe()
    thread = threading.Thread(target=sink.serve, args=(control, lambda _line: None))
    thread.start()
    try:
        yield sink, port
    finally:
        os.close(hold)
        thread.join(timeout=5.0)
        os.close(control)


# -- a clock that runs fast ---------------------------------------------------------------------

SHORT = Expectation("time to nothing", unit="s", at_most=10, source="the trial's own")


def fast_clock(trial: Trial, lying: bool) -> None:  # noqa: ARG001 - `told` plants this one
    """A trial of a good second, on a clock that runs 10 % fast."""
    time.sleep(1.2)
    trial.measures(SHORT, trial.clock.now())


def _fast() -> float:
    return 1.1 * time.monotonic()


# -- an engine whose answers are delayed --------------------------------------------------------

SLOWEST = Expectation("slowest answer", unit="s", at_most=0.5, source="the trial's own")


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def delayed_answers(trial: Trial, lying: bool) -> None:
    """An engine, and something before it that delays each answer by a second."""

    class Engine(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(1.0 if lying else 0.0)
            with suppress(BrokenPipeError):  # the probe has ended meanwhile
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"[]")

        def log_message(self, *_: Any) -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "api")
        with _Server(str(path), Engine) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            probe = Api([_node(trial, socket=path)], trial)
            with probe.watch(every=0.1, writes=False):
                wait_for(lambda: bool(probe.asked()) or NotYet("none"), state="", within=5.0)
            server.shutdown()
            thread.join()
    trial.measures(SLOWEST, probe.slowest())


# -- a load that sends to one entry only --------------------------------------------------------

GAP = Expectation("longest gap at {entry}", unit="s", at_most=1, source="the trial's own")
_ENTRIES = ("m1", "m2", "m3")


def one_entry(trial: Trial, lying: bool) -> None:
    """Three entries that the load is to ask, of which it asks the first."""
    requests = Requests(
        Request(
            t=number / 10,
            took=0.01,
            code=200,
            outcome="ok",
            entry=_ENTRIES[0 if lying else number % len(_ENTRIES)],
            task="",
            node="",
            due=number / 10,
            user=0,
            load=1,
        )
        for number in range(60)
    )
    for entry in _ENTRIES:
        trial.measures(GAP, requests.longest_gap(entry), entry=entry)


# -- samplers that end --------------------------------------------------------------------------

PEAK = Expectation("peak of memory", unit="MiB", at_most=10_000, source="the trial's own")


def _sampled(trial: Trial, planted: Callable[[Any, float], Held] | None) -> None:
    with patch.object(memory, "held_by", planted) if planted else nullcontext():
        process = _idle()
        try:
            node, probe = _node(trial, process=process), Memory(trial, every=0.05)
            probe.start([node])
            time.sleep(0.5)
            probe.save()
            peak = probe.peak(node, "rss", since=0.0, until=trial.clock.now())
        finally:
            process.kill()
            process.wait()
    trial.measures(PEAK, None if peak is None else peak / MIB)


def _ends_by(error: BaseException) -> Callable[[Any, float], Held]:
    real, looks = memory.held_by, []

    def ending(node: Any, t: float) -> Held:
        looks.append(t)
        if len(looks) > 3:
            raise error
        return real(node, t)

    return ending


def dead_sampler(trial: Trial, lying: bool) -> None:
    """A sampler whose thread dies of an error."""
    _sampled(trial, _ends_by(ValueError("a line it cannot read")) if lying else None)


def silent_sampler(trial: Trial, lying: bool) -> None:
    """A sampler whose thread ends without a word."""
    _sampled(trial, _ends_by(SystemExit()) if lying else None)


LIES = (
    Lie("repeated-sample", repeated_sample, control=(GROWTH.name,)),
    Lie("repeated-log", repeated_log),
    Lie("idle-fault", idle_fault),
    Lie("dropped-line", dropped_line),
    Lie("fast-clock", fast_clock),
    Lie("delayed-answers", delayed_answers),
    Lie("one-entry", one_entry),
    Lie("dead-sampler", dead_sampler),
    Lie("silent-sampler", silent_sampler),
)
