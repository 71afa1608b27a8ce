"""Frozen swarms: the microVM lab's snapshots with a swarm in them, and trials sent into them."""

from harness.frozen.recipe import KERNELS, FrozenSwarm, freeze_swarm, kernel_suite
from harness.frozen.sending import Errand, Sent, send

__all__ = ["KERNELS", "Errand", "FrozenSwarm", "Sent", "freeze_swarm", "kernel_suite", "send"]
