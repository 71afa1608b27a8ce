"""Lives of containers: in order, left on purpose or not, and seen or doubted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial
from stand_ins import stand_in

from harness.lab.dockerd_ends import DockerdEnds
from harness.probes import containers
from harness.probes.containers import Containers
from harness.probes.sampling.threads import doubt_ended
from harness.probes.tasks import Tasks
from harness.trial import Trial


class Pretended:
    """A node that is up, and whose dockerd is to run."""

    name = "w1"
    up = True
    alive = True
    dir = Path("/nonexistent")
    socket = Path("/nonexistent/docker.sock")

    def __init__(self) -> None:
        self.dockerd = self
        self.dockerd_ends = DockerdEnds()
        self.dockerd_ends.started()


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = bare_trial(tmp_path / "trial")
    yield made
    made.journal.close()


def stamp(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat()


def inspected(started: float, finished: float | None) -> dict[str, Any]:
    """What an engine says of a task's container; it ended if it has ``finished``."""
    return {
        "Id": "c1",
        "Config": {
            "Labels": {
                "com.docker.swarm.service.name": "app",
                "com.docker.swarm.task.name": "app.1.t1",
            }
        },
        "State": {
            "Running": finished is None,
            "Pid": 0,
            "StartedAt": stamp(started),
            "FinishedAt": stamp(finished or 0.0),
        },
        "NetworkSettings": {"Networks": {}},
    }


def event(action: str, at: float) -> dict[str, Any]:
    attributes = {"com.docker.swarm.task.id": "t1"}
    return {
        "Action": action,
        "timeNano": int(at * 1e9),
        "Actor": {"ID": "c1", "Attributes": attributes},
    }


@pytest.fixture
def node() -> Any:
    return stand_in(Pretended())


@pytest.fixture
def probe(node: Any, trial: Trial) -> Containers:
    return Containers([node], trial)


def test_a_life_that_is_over_when_it_is_told_of_does_not_end_before_it_began(
    node: Any, probe: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    found = inspected(started=now - 0.02, finished=now - 0.01)
    monkeypatch.setattr(containers, "_get", lambda node, path: found)
    probe._happened(node, event("start", now))
    [life] = probe.lives()
    assert life.ended == life.started


@pytest.mark.parametrize("asked", [False, True], ids=["by swarm", "by a dockerd that ends"])
def test_only_swarm_takes_a_task_out_of_service_before_it_is_killed(
    asked: bool, node: Any, probe: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(containers, "_get", lambda node, path: inspected(now - 1.0, None))
    monkeypatch.setattr(containers, "ProcHandle", lambda node, pid: None)
    probe._happened(node, event("start", now))
    if asked:
        node.dockerd_ends.asked()
    probe._happened(node, event("kill", now))
    [life] = probe.lives()
    assert (life.leaving is None) is asked


def test_a_node_that_could_never_be_read_is_doubted(probe: Containers, trial: Trial) -> None:
    probe._doubt_unread()
    assert trial.doubts == ["the containers probe could never read those of w1"]


def test_one_that_is_down_is_not(node: Any, probe: Containers, trial: Trial) -> None:
    node.alive = False
    probe._doubt_unread()
    assert trial.doubts == []


def test_the_tasks_probe_watches_from_when_it_is_made(trial: Trial) -> None:
    class Watched:
        started = False

        def start(self) -> None:
            self.started = True

    watched = Watched()
    Tasks(stand_in(watched), trial)
    assert watched.started


def test_a_thread_that_has_ended_is_doubted_and_one_that_runs_is_not(trial: Trial) -> None:
    go = threading.Event()
    ended, running = threading.Thread(target=bool, name="a"), threading.Thread(target=go.wait)
    for thread in (ended, running):
        thread.start()
    ended.join()
    doubt_ended("memory", [ended, running], trial)
    go.set()
    running.join()
    assert trial.doubts == ["the memory probe stopped early: its thread a has ended"]
