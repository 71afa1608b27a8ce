"""Hosts around dockerd: how often a unit starts, and whom its supervisor leaves dead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faults_model import open_trial

from harness.errors import FaultError, UsageError
from harness.faults import Faults
from harness.faults.host import DockerdCrashed, HostShutDown, Supervisor, supervisor
from harness.faults.host.supervisor import StartLimit
from harness.lab.dockerd_ends import DockerdEnds
from harness.trial import Trial
from harness.wait import NotYet, wait_for


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    trial = open_trial(tmp_path / "trial")
    yield trial
    trial.finish(None)


def test_a_unit_starts_three_times_a_minute() -> None:
    limit = StartLimit()
    assert [limit.may_start(at) for at in (0.0, 10.0, 20.0, 30.0, 59.9)] == [
        *(True, True, True, False, False)
    ]
    assert limit.may_start(60.0)
    assert not limit.may_start(61.0)


class DyingDockerd:
    """A dockerd that dies as often as it is told to, each time it is started."""

    def __init__(self, ends: DockerdEnds, deaths: int) -> None:
        self.ends = ends
        self.deaths = deaths
        self.starts = 0
        self.alive = False
        self.start()

    def start(self) -> None:
        self.ends.found_dead()
        self.ends.started()
        self.starts += 1
        self.alive = self.starts > self.deaths


def node(deaths: int) -> Any:
    ends = DockerdEnds()
    return SimpleNamespace(
        name="w1", up=True, dockerd_ends=ends, dockerd=DyingDockerd(ends, deaths)
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_AFTER", 0.0)
    monkeypatch.setattr(supervisor, "_LOOK", 0.001)


def test_a_dockerd_that_died_is_started_again(trial: Trial) -> None:
    made = node(deaths=2)
    with Supervisor(trial, [made]) as host:
        wait_for(lambda: made.dockerd.alive or NotYet("dead"), state="dockerd to live", within=10)
    assert (host.restarts(), host.restarts(made), host.failed) == (2, 2, [])
    assert len(made.dockerd_ends.unasked) == 2


def test_a_crash_loop_ends_when_the_unit_has_failed(trial: Trial) -> None:
    made = node(deaths=99)
    with Supervisor(trial, [made]) as host:
        wait_for(
            lambda: bool(host.failed) or NotYet("not yet"), state="the unit to fail", within=10
        )
    assert (host.restarts(), host.failed, made.dockerd.starts) == (3, ["w1"], 4)


def test_what_a_fault_has_ended_stays_dead(trial: Trial) -> None:
    made = node(deaths=0)
    looked = threading.Event()
    made.dockerd_ends.asked()
    found = made.dockerd_ends.found_dead

    def look() -> None:
        found()
        looked.set()

    made.dockerd_ends.found_dead = look
    made.dockerd.alive = False
    with Supervisor(trial, [made]) as host:
        assert looked.wait(10)
    assert (host.restarts(), made.dockerd.alive) == (0, False)


def test_parameters_that_cannot_be_are_refused(trial: Trial) -> None:
    host = Faults(trial).host
    with pytest.raises(UsageError, match="times: 0"):
        host.crash_dockerd(node(0), times=0)
    with pytest.raises(UsageError, match="timeout: 0"):
        host.shut_down(node(0), timeout=0.0)


def test_the_log_has_to_say_what_happened(trial: Trial, tmp_path: Path) -> None:
    log = tmp_path / "dockerd.log"
    log.write_text("msg=\"Processing signal 'terminated'\"\nSIGABRT: abort\n")
    made = SimpleNamespace(name="w1", up=False, log=log, dockerd=SimpleNamespace(alive=True, pid=8))
    off: Any = HostShutDown(trial, made)
    off.stopped_after = 1.25
    assert off.evidence() == "dockerd was told to end and ended after 1.2 s, no process is left"
    off._log_began = log.stat().st_size
    with pytest.raises(FaultError, match="does not say that dockerd was told"):
        off.evidence()
    crash: Any = DockerdCrashed(trial, made, times=2)
    with pytest.raises(FaultError, match="1 aborts of 2"):
        crash.evidence()
    crash = DockerdCrashed(trial, made)
    crash._before = 7
    assert crash.evidence() == "1 aborts in the log, pid 8 runs in place of 7"
    crash._before = 8
    with pytest.raises(FaultError, match="is still the process 8"):
        crash.evidence()
