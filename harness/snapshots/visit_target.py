"""Which guest a person wants to visit: a fresh one of a kind, or the one of a recorded trial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import harness
from harness.errors import TrialError, UsageError
from harness.faults.topology_file import recorded_nodes
from harness.guest.contract import HOLD_VARIABLE
from harness.images import Cache, Say
from harness.lab import Topology
from harness.snapshots.branching import point_before
from harness.snapshots.job import GuestJob, JobRecord
from harness.snapshots.lookup import snapshot_of
from harness.snapshots.payload import trial_payload
from harness.snapshots.swarm_snapshot import FrozenSwarm, freeze_swarm
from harness.snapshots.visit import ShellRequest, Visit
from harness.trial import read_record

PROJECT = Path(harness.__file__).parent.parent

#: Virtual seconds; an idle guest runs through a day of them in a few hours.
_LONG = 1e6

_JUMPING = (
    "Time is virtual: an instruction takes a fixed time and idle time is skipped, so while\n"
    "you think the guest's clock runs ahead (--real-time lets it wait)."
)
_WAITING = "Idle time passes as on the wall; busy, the guest's clock is slower than that."


def fresh(
    wanted: FrozenSwarm,
    request: ShellRequest,
    seed: int,
    cache: Cache,
    say: Say,
    *,
    real_time: bool,
) -> Visit:
    """Return a guest thawed for the visit alone. A script lies in it when it wakes."""
    check_node(request.node, wanted.topology)
    snapshot, engine = freeze_swarm(wanted, cache, say=say)
    notes = [
        f"{wanted.topology}, kernel {wanted.kernel}, seed {seed}; engine from {engine.source}",
        _WAITING if real_time else _JUMPING,
    ]
    inputs: dict[str, Any] = {"do": "shell", "notes": notes}
    if request.script is not None:
        inputs["request"] = request.facts()
    payload = trial_payload(PROJECT, [], cache, say=say)
    job = GuestJob("shell", (), payload, seed, virtual_deadline=_LONG)
    return Visit(snapshot, job, inputs, idle_in_real_time=real_time)


def after(
    trial: Path, request: ShellRequest, cache: Cache, say: Say, *, at: float | None = None
) -> Visit:
    """Return the guest of a recorded trial, which it runs again up to the end of its body.

    With ``at`` up to its last checkpoint before that time, in seconds of its clock.

    Raises :class:`TrialError` for a trial that cannot be had again.
    """
    record = read_record(trial)
    if record.inputs.lab != "microvm" or record.inputs.clock != "virtual":
        raise TrialError(
            f"{trial.name} ran in the {record.inputs.lab} lab under the {record.inputs.clock} "
            "clock: the state it ended in cannot be reproduced",
            hint="only trials of the microvm lab in virtual time are functions of their inputs",
        )
    check_node(request.node, recorded_nodes(record.inputs.topology))
    job_record = JobRecord.load(trial)
    job = job_record.job
    point = None if at is None else point_before(trial, at)
    if point is None:
        inputs = {**job.inputs, "environment": held(job.environment, trial)}
    else:  # the trial goes on with what it had; that there is something new hands it over
        inputs = {"do": "shell"}
    return Visit(
        snapshot_of(record, job_record, cache, say=say),
        job,
        inputs,
        recorded=trial / "journal.jsonl",
        at=point,
    )


def held(environment: Mapping[str, str], trial: Path) -> dict[str, str]:
    """Return a trial's environment that holds it; :class:`TrialError` if its code cannot."""
    if HOLD_VARIABLE not in environment:
        raise TrialError(
            f"the code that {trial.name} was recorded with cannot stop at the end of its body",
            hint="run the scenario again, with the same seed, and name the new trial",
        )
    return {**environment, HOLD_VARIABLE: "1"}


def check_node(name: str | None, topology: Topology) -> None:
    """:class:`UsageError` for a node that a topology has not."""
    names = [place.name for place in topology.places()]
    if name is not None and name not in names:
        raise UsageError(
            f"there is no node {name!r} in {topology}", hint=f"there are {', '.join(names)}"
        )
