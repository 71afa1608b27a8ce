"""The kernels that a guest may have, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UsageError

#: Debian suites by the kernel they serve as ``linux-image-cloud-amd64``.
KERNELS: Mapping[str, str] = {"6.1": "bookworm", "6.12": "trixie"}


def kernel_suite(kernel: str) -> str:
    """Return the suite that serves a kernel; :class:`UsageError` naming the known ones."""
    if kernel not in KERNELS:
        raise UsageError(f"kernel {kernel!r} is not known", hint=f"known: {', '.join(KERNELS)}")
    return KERNELS[kernel]
