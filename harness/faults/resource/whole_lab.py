"""What namespaces share: the kernel's clock and its counts by user.

A fault on these is done to a whole lab, and only to one that has a kernel of its own: in a guest
no other than the lab's nodes live on it.
"""

from __future__ import annotations

from harness.errors import FaultError
from harness.lab import NamespacesLab


def require_own_kernel(lab: NamespacesLab, why: str) -> None:
    """Refuse where the kernel is shared with whoever runs the lab; ``why`` it would be felt."""
    if not lab.own_kernel:
        raise FaultError(
            f"this lab's nodes share the kernel of its host: {why}",
            hint="in a guest it is done to all nodes at once: --lab microvm",
        )
