"""Whether a job is over when it is over: what its ended tasks hold, and what its removal ends.

The tasks of a job end, and the swarm keeps them in its list. What has ended needs nothing of its
node. And a job that is removed is removed while it runs, too: what nobody can see in a list any
more must not run on.
"""

from __future__ import annotations

import time

import pytest

from harness.probes.tasks import Tasks
from harness.swarm import APP_IMAGE, Deployment, Job, Resources, Service, Swarm, Workload
from harness.trial import Expectation, Measures
from harness.wait import Elapsed, NotYet, time_until

pytestmark = [pytest.mark.swarm(managers=1, workers=1), pytest.mark.thorough]

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")

RUNS = 3

#: Seconds that the swarm is watched after a change of the node: the enforcer looks at a node as
#: soon as it changes, and a run takes some seconds on a slow machine.
WATCHED = 15.0

#: Seconds between a task's stop signal and its kill; the program does not heed the signal.
GRACE = 3.0

TASKS = Expectation(
    "tasks of a job that was to run three times",
    unit="1",
    exactly=RUNS,
    source="the service asked for three, and got them before its node was touched",
    control="test_control_job_run_again",
)
GONE = Expectation(
    "time until the task of a removed job has ended",
    unit="s",
    at_most=26,
    source="a grace of 3 s, 10 s within which the engine kills (moby daemon/kill.go), both twice "
    "for a busy machine",
    control="test_control_long_grace",
)


@pytest.mark.upstream("moby/moby#52652")
@pytest.mark.known_bug("moby/moby#52652", engines="<29.6", measures=[TASKS])
def test_ended_runs_reserve_nothing(swarm: Swarm, measure: Measures) -> None:
    """Runs that have ended take no memory: together they reserve more than the node has."""
    job = completed_job(swarm)
    swarm.set_labels(swarm.workers[0], {"touched": "true"})
    swarm.observe(WATCHED, "whether runs that have ended are run again")
    measure(TASKS, len(job.tasks("job")))


@pytest.mark.control
def test_control_job_run_again(swarm: Swarm, measure: Measures) -> None:
    """A job that is run again, because somebody asks for it, has more runs."""
    job = completed_job(swarm)
    job.redeploy("job")
    swarm.observe(WATCHED, "the second round of runs")
    measure(TASKS, len(job.tasks("job")))


@pytest.mark.upstream("moby/swarmkit#3112")
@pytest.mark.known_bug("moby/swarmkit#3112", engines="<24.0", measures=[GONE])
def test_removed_job_ends(swarm: Swarm, tasks: Tasks, measure: Measures) -> None:
    """A job that is removed while it runs ends within its grace."""
    measure(GONE, time_to_gone(swarm, tasks, grace=GRACE))


@pytest.mark.control
def test_control_long_grace(swarm: Swarm, tasks: Tasks, measure: Measures) -> None:
    """A task with a grace of twice the limit, which does not heed the signal, outlives it."""
    measure(GONE, time_to_gone(swarm, tasks, grace=2 * GONE.limit))


def completed_job(swarm: Swarm) -> Deployment:
    """Deploy a job whose runs each reserve most of the worker's memory, and wait for its end."""
    [node] = swarm.workers
    member = swarm.member(node)
    attrs = swarm.ask(lambda api: api.api.inspect_node(member.id))
    memory = int(attrs["Description"]["Resources"]["MemoryBytes"])
    job = Service(
        "job",
        APP_IMAGE,
        role="worker",
        command=(*PYTHON, "pass"),
        job=Job(RUNS),
        reserve=Resources(memory=int(memory * 0.7)),
    )
    made = swarm.create(Workload("job", (), (job,)))
    made.wait_completed("job", within=90)
    return made


def time_to_gone(swarm: Swarm, tasks: Tasks, *, grace: float) -> Elapsed:
    """Return how long a removed job's task went on, by its container."""
    command = (*PYTHON, "import time; time.sleep(3600)")
    job = Service("job", APP_IMAGE, role="worker", command=command, job=Job(), stop_grace=grace)
    made = swarm.deploy(Workload("job", (), (job,)))
    tasks.running("job")
    since = time.monotonic()
    made.remove("job")

    def gone() -> bool | NotYet:
        left = tasks.running("job")
        return NotYet(f"it runs on {left[0].node}") if left else True

    return time_until(gone, state="the job's end", within=GONE.limit, every=0.25, since=since)
