"""Faults on what nodes share, and on cgroup 2: in a guest, whose kernel is the lab's own.

``pytest tests/integration/test_faults_in_guest.py --lab microvm --thorough``
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from harness.faults import Faults
from harness.lab import Node
from harness.lab.dockerd import NAMESPACES
from harness.lab.nsenter import complete, entering, joining
from harness.swarm import Swarm
from harness.trial import Expectation, Measures

pytestmark = pytest.mark.integration

DAY = 86400.0
MIB = 1 << 20


@pytest.mark.thorough  # another swarm to be frozen: two minutes and a half
@pytest.mark.swarm(managers=1, workers=2)
def test_what_only_a_guest_can_do(swarm: Swarm, faults: Faults, measure: Measures) -> None:
    """The clock jumps for all nodes, inotify runs out, and cgroup 2 limits as version 1 does."""
    if not swarm.lab.own_kernel:
        pytest.skip("this kernel is not the lab's own: --lab microvm")
    resource = faults.resource
    leader, worker = swarm.leader, swarm.a_worker()

    def check(name: str, value: Any, low: float, high: float, unit: str = "1") -> None:
        measure(Expectation(name, unit, at_least=low, no_control="a fault's own test"), value)
        assert value <= high, name

    def told() -> Any:
        words = leader.docker.info()["SystemTime"][:19]
        return datetime.fromisoformat(words).replace(tzinfo=UTC).timestamp()

    before, began = told(), time.monotonic()
    with resource.jump_clock(swarm, 100 * DAY):
        passed = time.monotonic() - began
        check("days that the clock jumped", (told() - before - passed) / DAY, 99.99, 100.01, "d")
    passed = time.monotonic() - began
    check("seconds off after the heal", told() - before - passed, -2, 2, "s")
    with resource.exhaust_inotify(swarm):
        pass  # its evidence is a refused inotify_init, its heal's one that is granted
    with resource.limit_cpu(worker, 0.1):
        check("CPU of a busy program under a tenth", busy(worker), 0.0, 0.25)
    with resource.hold_memory(worker, 32 * MIB) as held:
        check("memory held", held.amount / MIB, 32, 32, "MiB")
    with resource.own_disk(worker), resource.slow_disk(worker, writes=10):
        began = time.monotonic()
        with resource.fill_disk(worker):
            pass
        check("time to fill and free a slow disk", time.monotonic() - began, 0.0, 60.0, "s")
    swarm.wait_for_ready([worker], within=60)


def busy(node: Node) -> float:
    """CPU seconds by seconds that a busy program among the node's own gets."""
    script = "while :; do :; done & pid=$!; sleep 0.5; cat /proc/$pid/stat; kill -9 $pid"
    entered = entering(node.here.pid, NAMESPACES, ["sh", "-c", script])
    done = complete(joining(node.here.groups.leaves(), entered), shown=["sh"], where=node.name)
    stat = done.text.rpartition(") ")[2].split()
    return (int(stat[11]) + int(stat[12])) / 100 / 0.5
