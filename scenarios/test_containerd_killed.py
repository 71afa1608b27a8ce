"""Whether a task that dies while containerd is away is noticed and replaced.

dockerd starts another containerd when its own is gone; meanwhile containers run on under their
shims. One whose process ends in between has ended for everybody: the engine has to say so once it
has a containerd again, and swarm to start another task.
"""

from __future__ import annotations

import signal
import time

import pytest

from harness.faults.process.processes import task_of
from harness.swarm import APP_IMAGE, Service, Workload
from harness.wait import NotYet, time_until

pytestmark = [
    pytest.mark.swarm(managers=1, workers=2),
    pytest.mark.upstream("docker/for-linux#779", "moby/moby#37848"),
    pytest.mark.thorough,
]

# containerd is back after 10 to 11 s, as seen; the end is told, another task waits for 1 s, starts.
REPLACED = 45.0

NOTICED = "time until the dead task is replaced"


@pytest.mark.parametrize(
    "containerd",
    [
        "up",
        pytest.param(
            "killed",
            marks=pytest.mark.known_bug(
                "docker/for-linux#779", engines=">=26.1", measures=[NOTICED]
            ),
        ),
    ],
)
def test_task_dies(containerd, swarm, faults, measure):
    """A task whose process dies is replaced, with containerd there or away."""
    kill = faults.process.kill_containerd if containerd == "killed" else None
    measure(NOTICED, time_to_another(swarm, before_death=kill), unit="s").below(REPLACED - 1)


@pytest.mark.control(NOTICED)
def test_control_told_to_wait(swarm, measure):
    """A swarm that is told to wait before it starts another task is too late."""
    waited = time_to_another(swarm, restart_delay=2 * REPLACED)
    measure(NOTICED, waited, unit="s").below(REPLACED - 1)


def time_to_another(swarm, *, before_death=None, restart_delay=1.0):
    """How long until another task runs once the only one's process has died."""
    app = Service("app", APP_IMAGE, (), replicas=1, role="worker", restart_delay=restart_delay)
    web = swarm.deploy(Workload("app", (), (app,)))
    [before] = [task for task in web.tasks("app") if task.running]
    node = swarm.lab.node(before.node)
    _, victim = task_of(node, "app")
    since = time.monotonic()
    if before_death is not None:
        before_death(node).inject()
    end(victim)

    def replaced():
        running = [task for task in web.tasks("app") if task.running]
        if [task for task in running if task.id != before.id]:
            return True
        return NotYet("the dead task is said to run" if running else "none runs")

    return time_until(replaced, state="another task", within=REPLACED, every=0.5, since=since)


def end(process):
    """End a task's process, and nothing else; it is gone when this returns."""
    process.signal(signal.SIGKILL)
    process.wait_gone(5.0)
    process.close()
