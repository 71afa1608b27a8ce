"""What namespaces share: the kernel's clock and its counts by user.

A fault on these affects a whole lab, and is only possible in one with its own kernel: in a guest
nothing but the lab's nodes runs on it.
"""

from __future__ import annotations

from harness.errors import FaultError
from harness.lab import Lab


def require_own_kernel(lab: Lab, why: str) -> None:
    """Raise :class:`FaultError` where the kernel is the host's; ``why`` that forbids the fault."""
    if not lab.own_kernel:
        raise FaultError(
            f"this lab's nodes share the kernel of its host: {why}",
            hint="it is possible in a guest, for all nodes at once: --lab microvm",
        )
