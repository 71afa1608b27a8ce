"""Real Locust against a small server on loopback that can misbehave on request."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from processes import running

import harness.load.load as load_module
from harness.errors import LoadError, UsageError
from harness.load import Load
from harness.trial import EngineFacts, Trial, TrialInputs, read_lines
from harness.wait import NotYet, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


class Here:
    """A site that is no namespace: processes start where the test runs."""

    def __init__(self, *prefix: str) -> None:
        self.prefix = prefix
        self.started: list[subprocess.Popen[bytes]] = []

    def run_module(
        self, module: str, *, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as words:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=words,
                env=environment,
            )
        self.started.append(process)
        return process


class Server:
    """Answers 200 with its name until told otherwise by ``mood``."""

    def __init__(self) -> None:
        self.mood = "well"
        self.asked = 0
        self.lock = threading.Lock()
        self.connections = 0
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                with outer.lock:
                    outer.connections += 1
                super().setup()

            def do_GET(self) -> None:
                with outer.lock:
                    outer.asked += 1
                if outer.mood == "hang":
                    outer.released.wait(20)
                if outer.mood == "reset":
                    # Closing with unread linger 0 makes the kernel send RST and not FIN.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                if outer.mood == "torn":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nbut")
                    self.close_connection = True
                    return
                codes = {"500": 500, "404": 404, "302": 302, "no-address": 502}
                code = codes.get(outer.mood, 200)
                self.send_response(code)
                self.send_header("X-Task", "web.1")
                self.send_header("X-Node", "w2")
                self.send_header("X-Balancer", "m1")
                if outer.mood != "no-address":
                    self.send_header("X-Upstream", "10.0.1.2:8000")
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"hi")
                if outer.mood == "close":
                    # Without having announced it: the next request finds the connection gone.
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256  # else the kernel drops what many users begin with

            def handle_error(self, *args: object) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Target:
    path = "/"

    def __init__(self, **entries: str) -> None:
        self.entries = entries


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    inputs = TrialInputs(
        scenario="load",
        engine=EngineFacts(name="none", version="0", source="", digest=""),
        topology="none",
        lab="none",
        kernel="",
        clock="real",
        seed=1,
    )
    made = Trial(tmp_path / "trial", inputs)
    yield made
    made.journal.close()


def entries_of(trial: Trial, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_lines(trial.journal.path) if line["kind"] == kind]


def until(condition: Callable[[], bool], state: str) -> None:
    wait_for(lambda: condition() or NotYet("not so"), state=state, within=30)


def refusing_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_healthy_server_gets_all_that_is_due_and_every_answer_is_on_record(
    server: Server, trial: Trial
) -> None:
    load = Load(Here(), trial)
    with load.http(Target(m1=server.url, m2=server.url), users=10, per_user=2) as traffic:
        assert traffic.count > 0
        assert {r.entry for r in traffic.requests} == {"m1", "m2"}
        until(lambda: traffic.count >= 100, "100 requests")
        with pytest.raises(LoadError):
            _ = traffic.account
    account = traffic.account
    assert traffic.outcomes == {"ok": traffic.count}
    assert traffic.count == server.asked
    assert account.unsent == account.client == 0
    assert account.scheduled - account.blocked == account.sent == traffic.count
    # Where all wait for a CPU the server is slow, too, and a user waits for it.
    assert account.blocked == 0 or max(r.done - r.due for r in traffic.requests) > 1 / 2
    assert trial.doubts == []
    first = traffic.requests[0]
    assert (first.code, first.task, first.node) == (200, "web.1", "w2")
    assert all(0 <= r.t - r.due < 1 for r in traffic.requests)
    kept, new = traffic.over("kept"), traffic.over("new")
    assert (len({r.user for r in kept.all}), len({r.user for r in new.all})) == (6, 4)
    assert server.connections == 6 + new.count  # one a user, or one a request
    assert traffic.resolution == pytest.approx(0.3)
    (start,) = entries_of(trial, "load.start")
    (stop,) = entries_of(trial, "load.stop")
    assert start["users_per_entry"] == {"m1": 5, "m2": 5}
    assert stop["requests"] == traffic.count
    assert stop["outcomes"] == {"ok": traffic.count}
    locust = stop["locust"]
    assert (locust["requests"], locust["failures"]) == (traffic.count, 0)
    # Locust rounds percentiles to two digits, of milliseconds: 0 below half of one, or above its
    # longest, by a twentieth at most.
    assert 0 <= locust["median"] <= locust["p99"] <= locust["longest"] * 1.05 + 0.001
    slowest = max(r.took for r in traffic.requests)
    assert 0 < locust["longest"] == pytest.approx(slowest, abs=0.01)
    # 20 requests a second: anything above 50 ms each would have it fall behind.
    assert stop["cpu"] / traffic.count < 0.025
    gap = traffic.longest_gap()
    assert gap is not None
    assert gap < traffic.resolution + 2 * slowest + 0.5


@pytest.mark.parametrize(
    ("mood", "outcome", "code"),
    [
        ("500", "5xx", 500),
        ("no-address", "5xx", 502),
        ("404", "4xx", 404),
        ("302", "ok", 302),
        ("reset", "reset", 0),
        ("torn", "reset", 0),
        ("hang", "timeout", 0),
    ],
)
def test_each_misbehaviour_has_its_name(
    server: Server, trial: Trial, mood: str, outcome: str, code: int
) -> None:
    server.mood = mood
    timeout = 0.5 if mood == "hang" else 10.0  # a busy machine may be late, and none is in doubt
    with Load(Here(), trial).http(
        Target(m1=server.url), users=3, per_user=5, timeout=timeout
    ) as it:
        until(lambda: it.count >= 6, "6 requests")
    assert {(r.outcome, r.code) for r in it.requests} == {(outcome, code)}
    assert it.share_of_50x == (1.0 if outcome == "5xx" else 0.0)
    assert it.share_of_errors == (1.0 if code == 0 else 0.0)
    assert it.share_lost == (0.0 if outcome == "ok" else 1.0)
    assert it.losses["name not found"] == (1.0 if mood == "no-address" else 0.0)
    (stop,) = entries_of(trial, "load.stop")
    assert stop["locust"]["failures"] == (0 if outcome == "ok" else it.count)
    assert it.count == server.asked  # nothing is repeated behind our back, nothing followed
    assert it.account.unsent == 0
    assert trial.doubts == []


def test_refused_and_well_at_once_are_told_apart_by_entry(server: Server, trial: Trial) -> None:
    target = Target(m1=server.url, m2=refusing_url())
    with Load(Here(), trial).http(target, users=4, per_user=5) as traffic:
        until(lambda: traffic.count >= 20, "20 requests")
    by_entry = {name: traffic.snapshot().of_entry(name).outcomes for name in ("m1", "m2")}
    assert by_entry["m1"].keys() == {"ok"}
    assert by_entry["m2"].keys() == {"refused"}
    assert traffic.gaps_by_entry()["m2"] > traffic.gaps_by_entry()["m1"]


def test_what_a_hanging_server_was_not_asked_is_its_own_doing(server: Server, trial: Trial) -> None:
    with Load(Here(), trial).http(Target(m1=server.url), users=2, per_user=5, timeout=1.5) as it:
        server.mood = "hang"
        until(lambda: it.outcomes.get("timeout", 0) >= 2, "both users to have timed out")
        server.mood = "well"
        server.released.set()
        since = trial.clock.now()
        until(lambda: it.window(since, since + 60).share("ok") == 1.0, "answers again")
    assert it.account.blocked >= 10
    lost = it.snapshot().share_unserved
    assert lost is not None
    assert lost > (it.share_lost or 0) > 0
    assert it.account.unsent == 0
    assert trial.doubts == []
    gap = it.longest_gap()
    assert gap is not None
    assert 1.4 < gap < 4


def test_a_connection_closed_while_idle_is_no_error(server: Server, trial: Trial) -> None:
    server.mood = "close"
    with Load(Here(), trial).http(Target(m1=server.url), users=2, per_user=5) as traffic:
        until(lambda: traffic.count >= 10, "10 requests")
    assert traffic.outcomes == {"ok": traffic.count}
    assert server.connections == traffic.count


def test_unreachable_is_told_apart_in_a_namespace_without_a_route(trial: Trial) -> None:
    place = Here("unshare", "--net")
    target = Target(m1="http://198.18.0.11:8080")
    with Load(place, trial).http(target, users=2, per_user=5) as traffic:
        until(lambda: traffic.count >= 4, "4 requests")
    assert traffic.outcomes == {"unreachable": traffic.count}


def test_two_loads_share_a_file_and_keep_their_own(server: Server, trial: Trial) -> None:
    with (
        Load(Here(), trial).http(Target(m1=server.url), users=2, per_user=5) as one,
        Load(Here(), trial).http(Target(m2=server.url), users=2, per_user=5, path="/other") as two,
    ):
        until(lambda: one.count >= 5 and two.count >= 5, "requests of both")
    assert {r.entry for r in one.requests} == {"m1"}
    assert {r.entry for r in two.requests} == {"m2"}
    lines = list(read_lines(trial.samples("requests")))
    assert len(lines) == one.count + two.count == server.asked
    assert trial.doubts == []


def test_no_request_dies_unrecorded_when_a_busy_load_is_stopped(
    server: Server, trial: Trial
) -> None:
    with Load(Here(), trial).http(Target(m1=server.url), users=100, per_user=4) as traffic:
        until(lambda: traffic.count >= 300, "300 requests")
    assert traffic.outcomes == {"ok": traffic.count}
    assert traffic.count == server.asked


def test_a_shape_sets_how_many_users_ask_when(server: Server, trial: Trial) -> None:
    shape = [(1.0, 1), (1.0, 4), (1.0, 2)]
    with Load(Here(), trial).http(Target(m1=server.url), shape=shape, per_user=4) as traffic:
        begun = entries_of(trial, "load.start")[0]["begun"]
        until(lambda: trial.clock.now() > begun + 3.2, "the last stage to last on")
    counts = [traffic.stage(number) for number in (0, 1, 2)]
    accounts = [traffic.account_of(number) for number in (0, 1, 2)]
    assert [found.sent for found in accounts] == [stage.count for stage in counts]
    assert [found.scheduled for found in accounts[:2]] == [4, 16]
    asked = [len({r.user for r in w.all}) for w in counts]
    assert asked[0] == 1
    assert asked[1] == 4
    assert counts[1].count >= 15


def test_a_stopped_generator_is_in_doubt_and_not_the_server(server: Server, trial: Trial) -> None:
    place = Here()
    with Load(place, trial).http(Target(m1=server.url), users=4, per_user=5) as traffic:
        (child,) = place.started
        child.send_signal(signal.SIGSTOP)
        resume = trial.clock.now() + 1.6
        until(lambda: trial.clock.now() >= resume, "1.6 s to pass")
        child.send_signal(signal.SIGCONT)
        before = traffic.count
        until(lambda: traffic.count > before + 20, "requests again")
    assert traffic.account.longest_stall > 1
    assert traffic.unsent >= 4 * 5
    assert len(trial.doubts) == 2
    assert "stalled" in trial.doubts[0]


def test_a_generator_that_falls_behind_where_it_was_meant_to_is_not_in_doubt(
    server: Server, trial: Trial
) -> None:
    place, shape = Here(), [(1.0, 2), (1.0, 4)]
    with Load(place, trial).http(Target(m1=server.url), shape=shape, per_user=5) as traffic:
        until(lambda: traffic.stage(1).count > 4, "the second stage")
        (child,) = place.started
        child.send_signal(signal.SIGSTOP)
        resume = trial.clock.now() + 1.6
        until(lambda: trial.clock.now() >= resume, "1.6 s to pass")
        child.send_signal(signal.SIGCONT)
        traffic.overload_from(1)
    assert traffic.account_of(1).unsent > 0 == traffic.account_of(0).unsent
    assert trial.doubts == []
    with pytest.raises(UsageError, match="2 is not a stage"):
        traffic.stage(2)


def test_a_generator_that_dies_is_a_doubt_and_its_requests_are_kept(
    server: Server, trial: Trial
) -> None:
    place = Here()
    with Load(place, trial).http(Target(m1=server.url), users=2, per_user=5) as traffic:
        place.started[0].kill()
        place.started[0].wait()
    assert traffic.count > 0
    assert any("ended early, with exit code -9" in doubt for doubt in trial.doubts)


def test_a_generator_that_will_not_stop_is_killed(
    server: Server, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "STOP_WITHIN", 0.5)
    place = Here()
    target = Target(m1=server.url)
    with Load(place, trial).http(target, users=2, per_user=5, timeout=0.5):
        place.started[0].send_signal(signal.SIGSTOP)
    assert place.started[0].returncode == -9
    assert any("was killed" in doubt for doubt in trial.doubts)


def test_a_disk_that_is_full_ends_the_generator_and_is_a_doubt(
    server: Server, trial: Trial
) -> None:
    place = Here("prlimit", "--fsize=8000")
    with Load(place, trial).http(Target(m1=server.url), users=5, per_user=10) as traffic:
        until(lambda: place.started[0].poll() is not None, "Locust to give up")
    assert traffic.count > 0
    assert any("exit code 1" in doubt for doubt in trial.doubts)
    assert any("File too large" in doubt for doubt in trial.doubts)


def test_a_locust_that_cannot_start_says_why_in_its_own_words(trial: Trial) -> None:
    # In a network without one, no name server can keep it waiting.
    place, target = Here("unshare", "--net"), Target(m1="http://no-such-host.invalid:80")
    with pytest.raises(LoadError) as caught, Load(place, trial).http(target, users=2):
        pass
    assert "exit code" in str(caught.value)
    assert "gaierror" in str(caught.value)
    assert "locust.log" in str(caught.value)


def test_a_place_that_cannot_start_anything_is_a_load_error(trial: Trial) -> None:
    place = Here("/does/not/exist")
    with pytest.raises(LoadError, match="cannot start Locust"):
        Load(place, trial).http(Target(m1="http://127.0.0.1:1")).__enter__()


def test_a_load_runs_once(server: Server, trial: Trial) -> None:
    traffic = Load(Here(), trial).http(Target(m1=server.url), users=2, per_user=5)
    with traffic:
        pass
    with pytest.raises(UsageError), traffic:
        pass


PARENT = """
import os, sys, time, subprocess
from pathlib import Path
from harness.load import Load
from harness.trial import EngineFacts, Trial, TrialInputs
class Here:
    def run_module(self, module, *, environment, log):
        process = subprocess.Popen([sys.executable, "-P", "-m", module],
                                   stdin=subprocess.PIPE, env=environment)
        print(process.pid, flush=True)
        return process
class Target:
    path = "/"
    entries = {"m1": sys.argv[2]}
engine = EngineFacts(name="none", version="0", source="", digest="")
inputs = TrialInputs(scenario="s", engine=engine, topology="", lab="", kernel="", clock="real",
                     seed=1)
with Load(Here(), Trial(Path(sys.argv[1]), inputs)).http(Target(), users=2, per_user=5):
    print("running", flush=True)
    sys.stdin.read()
"""


def test_the_generator_dies_with_its_parent(server: Server, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "trial"), server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    with parent.stdout, parent.stdin:
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "running\n"
        assert running(child)
        parent.kill()
        parent.wait()
    started = time.monotonic()
    until(lambda: not running(child), "the generator to be gone")
    assert time.monotonic() - started < 5
