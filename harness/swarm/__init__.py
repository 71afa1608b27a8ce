"""The swarm on a lab's nodes: form it, ask it, wait for it, choose members, deploy workloads."""

from harness.swarm.client import Member, NoAnswer, SwarmClient, ask
from harness.swarm.deployment import Deployment
from harness.swarm.image_seed import seed_for
from harness.swarm.service_parts import (
    Dns,
    FileFrom,
    HealthCheck,
    Job,
    LogDriver,
    Mount,
    Port,
    Resources,
    RestartPolicy,
    UpdateConfig,
)
from harness.swarm.settings import SwarmPools, SwarmSettings
from harness.swarm.stacks import Stack, as_stack, stack
from harness.swarm.swarm import Swarm
from harness.swarm.task import Task
from harness.swarm.workload import (
    ANY_SUBNET,
    APP_IMAGE,
    APP_PORT,
    BALANCER_IMAGE,
    BALANCER_PORT,
    LOGWRITER_IMAGE,
    LOGWRITER_PORT,
    Network,
    Service,
    Workload,
    balanced_web,
)

__all__ = [
    "ANY_SUBNET",
    "APP_IMAGE",
    "APP_PORT",
    "BALANCER_IMAGE",
    "BALANCER_PORT",
    "LOGWRITER_IMAGE",
    "LOGWRITER_PORT",
    "Deployment",
    "Dns",
    "FileFrom",
    "HealthCheck",
    "Job",
    "LogDriver",
    "Member",
    "Mount",
    "Network",
    "NoAnswer",
    "Port",
    "Resources",
    "RestartPolicy",
    "Service",
    "Stack",
    "Swarm",
    "SwarmClient",
    "SwarmPools",
    "SwarmSettings",
    "Task",
    "UpdateConfig",
    "Workload",
    "as_stack",
    "ask",
    "balanced_web",
    "seed_for",
    "stack",
]
