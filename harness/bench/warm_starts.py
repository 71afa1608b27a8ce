"""What warm starts gain: trials an hour, thawed where they begin, and thawed as they were frozen.

The trials are of the failover scenarios, which all begin with one swarm that serves one workload.
Both ways run the same jobs on the same CPUs, a seed this way and then that, so that what else the
machine does meets both. What a seed's warm-up costs is part of its trials'.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bench.metric import Metric, cpu_of_children
from harness.errors import MicrovmError
from harness.guest.contract import (
    CLOCK_VARIABLE,
    HOLD_VARIABLE,
    LAB_LINK,
    LAB_VARIABLE,
    PYTEST_ENVIRONMENT,
    WARM_VARIABLE,
)
from harness.images import Say
from harness.snapshots.job import GuestJob, send
from harness.snapshots.warm_up import forget
from harness.swarm.workload import balanced_web, facts_of
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import Outcome

_FILE = "test_manager_failover.py"

SCENARIOS = (
    "test_leader_killed[{point}-dockerd]",
    "test_control_majority_killed[{point}]",
    "test_follower_killed[{point}-node]",
    "test_leader_killed[{point}-node]",
    "test_control_leader_for_follower[{point}]",
)
"""Names of scenarios and controls, the first ones first when fewer are asked for."""

_DEADLINE = 900.0  # virtual seconds
_WALL_DEADLINE = 10800.0


@dataclass
class _Cost:
    trials: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    @property
    def per_hour(self) -> float:
        return 3600 * self.trials / self.wall


def metrics(
    snapshot: Snapshot, body: bytes, folder: str, *, seeds: int, scenarios: int, say: Say
) -> Iterator[Metric]:
    """Run the first ``scenarios`` of :data:`SCENARIOS` with ``seeds`` seeds, both ways.

    ``body`` is the payload with the scenarios in ``folder``; ``snapshot`` the swarm they ask for,
    of the stable engine. Warm starts of these seeds that are kept from before are made anew.
    """
    pool = Pool()
    warm, cold = _Cost(), _Cost()
    for seed in range(1, seeds + 1):
        jobs = [_job(folder, name, body, seed) for name in SCENARIOS[:scenarios]]
        _run("warm", jobs, snapshot, pool, warm, say)
        _run("cold", [_without(job) for job in jobs], snapshot, pool, cold, say)
    yield Metric("microvm.trials_per_hour", round(warm.per_hour, 1), "1/h")
    yield Metric("microvm.trials_per_hour_cold", round(cold.per_hour, 1), "1/h")
    yield Metric("microvm.warm_gain", round(cold.wall / warm.wall, 2), "1")
    yield Metric("microvm.warm_gain_cpu", round(cold.cpu / warm.cpu, 2), "1")


def _run(
    way: str, jobs: Sequence[GuestJob], snapshot: Snapshot, pool: Pool, cost: _Cost, say: Say
) -> None:
    for job in jobs:
        if job.warm_up is not None:
            forget(snapshot, job.warm_up, job.seed)
    began, used = time.monotonic(), cpu_of_children()
    with ThreadPoolExecutor(pool.slots) as guests:
        list(guests.map(lambda job: _finish(job, snapshot, pool), jobs))
    wall, cpu = time.monotonic() - began, cpu_of_children() - used
    say(f"seed {jobs[0].seed}, {way}: {len(jobs)} trials in {wall:.0f} s, {cpu:.0f} s of CPU")
    cost.trials, cost.wall, cost.cpu = cost.trials + len(jobs), cost.wall + wall, cost.cpu + cpu


def _finish(job: GuestJob, snapshot: Snapshot, pool: Pool) -> None:
    with tempfile.TemporaryDirectory(prefix="swarm-chaos-bench-") as folder:
        sent = send(job, snapshot, pool, Path(folder))
    # Which way it went is not asked: the trials of controls fail, and are to.
    if sent.result.outcome is not Outcome.FINISHED or sent.result.exit_code not in (0, 1):
        raise MicrovmError(
            f"{job.args[0]} did not finish: {sent.result.detail}; the end of its console:\n"
            f"{sent.result.console_tail}"
        )


def _job(folder: str, name: str, body: bytes, seed: int) -> GuestJob:
    nodeid = f"{folder}/{_FILE}::{name.format(point=f'stable-s{seed}')}"
    return GuestJob(
        trial="bench",
        args=(
            *(nodeid, "-q", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
            *("-p", "harness.pytest_plugin", "--lab=namespaces", f"--lab-attach={LAB_LINK}"),
            *("--engine=stable", f"--seed={seed}", "--thorough", "--controls"),
        ),
        payload=body,
        seed=seed,
        environment={
            CLOCK_VARIABLE: "virtual",
            LAB_VARIABLE: "microvm",
            HOLD_VARIABLE: "0",
            WARM_VARIABLE: "1",
            **PYTEST_ENVIRONMENT,
        },
        virtual_deadline=_DEADLINE,
        wall_deadline=_WALL_DEADLINE,
        warm_up={"seed": seed, "reseed": True, "serving": facts_of(balanced_web(replicas=4))},
    )


def _without(job: GuestJob) -> GuestJob:
    """Return a job whose trial does by itself what the warm-up would have done."""
    return replace(job, warm_up=None, environment={**job.environment, WARM_VARIABLE: "0"})
