"""Whether an update that stops first lets the old task have its grace before the new one starts.

A service of one replica that is updated stop-first, swarm's own order, never runs twice: the new
task waits until the old one has ended, for as long as its grace lasts. Two at a time is what a
program that writes to a volume cannot bear.

The grace holds whoever stops the task: the swarm, or a host that is shut down and waits for
dockerd.
"""

from __future__ import annotations

import time

import pytest

from harness.faults import Fault, Faults
from harness.probes.tasks import Tasks
from harness.swarm import APP_IMAGE, Deployment, Service, Swarm, UpdateConfig, Workload
from harness.trial import Expectation, Measures
from harness.wait import NotYet, expect_state

pytestmark = [
    pytest.mark.swarm(managers=1, workers=1),
    pytest.mark.upstream("moby/moby#36111"),
    pytest.mark.thorough,
]

TWICE = Expectation(
    "time that the old and the new task ran together",
    unit="s",
    at_most=1,
    source="stop first: the new one starts when the old one has ended; a second for the clocks of "
    "two event streams",
    control="test_control_start_first",
)

KEPT = Expectation(
    "share of the time that the program needed before it was killed",
    unit="1",
    at_least=1,
    source="it needs less than its grace, and the host waits for dockerd for 90 s",
    control="test_control_power_lost",
)

#: It takes its time after TERM, and ends by itself.
PROGRAM = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep({seconds:g}), sys.exit(0)))\n"
    "while True: signal.pause()"
)


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(15.0, id="15s"),
        pytest.param(
            75.0, id="75s", marks=pytest.mark.known_bug("moby/moby#36111", measures=[TWICE])
        ),
    ],
)
def test_stopping_takes(seconds: float, swarm: Swarm, tasks: Tasks, measure: Measures) -> None:
    """A program that needs some seconds of its grace is not joined by its successor."""
    measure(TWICE, time_together(swarm, tasks, seconds, UpdateConfig()))


@pytest.mark.control
def test_control_start_first(swarm: Swarm, tasks: Tasks, measure: Measures) -> None:
    """An update that is told to start first has both run for as long as the old one takes."""
    measure(TWICE, time_together(swarm, tasks, 15.0, UpdateConfig(order="start-first")))


@pytest.mark.upstream("moby/moby#36955")
@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(5.0, id="5s"),
        pytest.param(
            20.0, id="20s", marks=pytest.mark.known_bug("moby/moby#36955", measures=[KEPT])
        ),
    ],
)
def test_host_is_shut_down(
    seconds: float, swarm: Swarm, tasks: Tasks, faults: Faults, measure: Measures
) -> None:
    """A program has its grace when its host is shut down in order."""
    deploy_slow_to_end(swarm, seconds, UpdateConfig())
    measure(KEPT, share_of_grace(tasks, faults.host.shut_down(swarm.workers[0]), seconds))


@pytest.mark.control
def test_control_power_lost(swarm: Swarm, tasks: Tasks, faults: Faults, measure: Measures) -> None:
    """A host that loses its power gives no program any time."""
    deploy_slow_to_end(swarm, 5.0, UpdateConfig())
    measure(KEPT, share_of_grace(tasks, faults.kill_node(swarm.workers[0]), 5.0))


def share_of_grace(tasks: Tasks, fault: Fault, seconds: float) -> float:
    """Return for which share of ``seconds`` the task went on after a fault began."""
    [life] = tasks.running("app")
    began = tasks.at(time.monotonic())

    def end() -> float | NotYet:
        [found] = [each for each in tasks.lives("app") if each.task == life.task]
        return found.ended or NotYet("it runs")

    with fault:
        return (expect_state(end, state="the task's end", within=30) - began) / seconds


def time_together(swarm: Swarm, tasks: Tasks, seconds: float, update: UpdateConfig) -> float:
    """Return for how long a service of one replica ran twice while it was updated."""
    made = deploy_slow_to_end(swarm, seconds, update)
    tasks.running("app")
    made.redeploy("app")
    swarm.observe(seconds + 15.0, "whether old and new task run together")
    return sum(twins.seconds for twins in tasks.twins(service="app"))


def deploy_slow_to_end(swarm: Swarm, seconds: float, update: UpdateConfig) -> Deployment:
    """Deploy one task of a program that needs some seconds to end, within its grace."""
    app = Service(
        "app",
        APP_IMAGE,
        role="worker",
        command=("/usr/bin/python3", "-I", "-S", "-c", PROGRAM.format(seconds=seconds)),
        stop_grace=seconds + 15.0,
        update=update,
    )
    return swarm.deploy(Workload("app", (), (app,)))
