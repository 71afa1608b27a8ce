"""Frozen swarms: the microVM lab's snapshots with a swarm in them, and trials sent into them."""

from harness.frozen.kernels import KERNELS, kernel_suite
from harness.frozen.recipe import FrozenSwarm, freeze_swarm
from harness.frozen.recorded import snapshot_of
from harness.frozen.sending import RECEIPT, Errand, Receipt, Sent, send

__all__ = [
    "KERNELS",
    "RECEIPT",
    "Errand",
    "FrozenSwarm",
    "Receipt",
    "Sent",
    "freeze_swarm",
    "kernel_suite",
    "send",
    "snapshot_of",
]
