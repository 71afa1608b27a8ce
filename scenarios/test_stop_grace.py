"""Whether an update that stops first lets the old task have its grace before the new one starts.

A service of one replica that is updated stop-first, swarm's own order, never runs twice: the new
task waits until the old one has ended, for as long as its grace lasts. Two at a time is what a
program that writes to a volume cannot bear.
"""

from __future__ import annotations

import pytest

from harness.probes.tasks import Tasks
from harness.swarm import APP_IMAGE, Service, Swarm, UpdateConfig, Workload
from harness.trial import Expectation, Measures

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


def time_together(swarm: Swarm, tasks: Tasks, seconds: float, update: UpdateConfig) -> float:
    """Return for how long a service of one replica ran twice while it was updated."""
    app = Service(
        "app",
        APP_IMAGE,
        role="worker",
        command=("/usr/bin/python3", "-I", "-S", "-c", PROGRAM.format(seconds=seconds)),
        stop_grace=seconds + 15.0,
        update=update,
    )
    made = swarm.deploy(Workload("app", (), (app,)))
    tasks.running("app")
    made.redeploy("app")
    swarm.observe(seconds + 15.0, "whether old and new task run together")
    return sum(twins.seconds for twins in tasks.twins(service="app"))
