"""The swarm on a lab's nodes: form it, ask it, wait for it, choose members, deploy workloads."""

from harness.swarm.asking import NoAnswer, ask
from harness.swarm.deployment import Deployment, Task
from harness.swarm.seeds import seed_for
from harness.swarm.swarm import Member, Swarm
from harness.swarm.workload import Service, Workload, balanced_web

__all__ = [
    "Deployment",
    "Member",
    "NoAnswer",
    "Service",
    "Swarm",
    "Task",
    "Workload",
    "ask",
    "balanced_web",
    "seed_for",
]
