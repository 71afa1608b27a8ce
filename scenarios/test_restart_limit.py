"""Whether swarm stops to restart a program that fails, when it was told to after some attempts.

A restart policy has a number of attempts and a window: attempts within the window count. With a
window no longer than the delay between two attempts there is never more than one in it, so that
three attempts become endless ones, and nobody is told.
"""

from __future__ import annotations

import pytest

from harness.probes.tasks import Tasks
from harness.swarm import APP_IMAGE, RestartPolicy, Service, Swarm, Workload
from harness.trial import Expectation, Measures

pytestmark = [
    pytest.mark.swarm(managers=1, workers=1),
    pytest.mark.upstream("moby/swarmkit#2936"),
    pytest.mark.thorough,
]

ATTEMPTS = 3
DELAY = 3.0

#: Seconds in which a program that fails at once would be started ten times.
WATCHED = 10 * DELAY

STARTS = Expectation(
    "starts of a program that fails",
    unit="1",
    at_most=1 + ATTEMPTS,
    source="the first start, and three attempts more",
    control="test_control_without_a_limit",
)


@pytest.mark.parametrize(
    "window",
    [
        pytest.param(120.0, id="window-120s"),
        pytest.param(
            DELAY,
            id="window-as-the-delay",
            marks=pytest.mark.known_bug("moby/swarmkit#2936", measures=[STARTS]),
        ),
    ],
)
def test_restarts_end(window: float, swarm: Swarm, tasks: Tasks, measure: Measures) -> None:
    """A program that fails is started as often as its policy says, whatever its window."""
    measure(STARTS, starts(swarm, tasks, RestartPolicy("any", DELAY, ATTEMPTS, window)))


@pytest.mark.control
def test_control_without_a_limit(swarm: Swarm, tasks: Tasks, measure: Measures) -> None:
    """Without a limit it is started again and again."""
    measure(STARTS, starts(swarm, tasks, RestartPolicy("any", DELAY)))


def starts(swarm: Swarm, tasks: Tasks, policy: RestartPolicy) -> int:
    """Return how many containers of a failing program were started while it was watched."""
    tasks.running("app")  # containers are seen from here on
    command = ("/usr/bin/python3", "-I", "-S", "-c", "raise SystemExit(1)")
    app = Service("app", APP_IMAGE, role="worker", command=command, restart=policy)
    swarm.create(Workload("app", (), (app,)))
    swarm.observe(WATCHED, "how often a program that fails is started")
    return len(tasks.lives("app"))
