"""The swarm on a lab's nodes: form it, ask it, wait for it, choose members, deploy workloads."""

from harness.swarm.changes import (
    change,
    publish,
    redeploy,
    remove,
    scale,
    time_to_updated,
    update_state,
)
from harness.swarm.client import NoAnswer, ask
from harness.swarm.deployment import Deployment, Task
from harness.swarm.image_seed import seed_for
from harness.swarm.swarm import Member, Swarm
from harness.swarm.workload import LogDriver, Service, Workload, balanced_web

__all__ = [
    "Deployment",
    "LogDriver",
    "Member",
    "NoAnswer",
    "Service",
    "Swarm",
    "Task",
    "Workload",
    "ask",
    "balanced_web",
    "change",
    "publish",
    "redeploy",
    "remove",
    "scale",
    "seed_for",
    "time_to_updated",
    "update_state",
]
