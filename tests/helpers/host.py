"""What of the host must be as it was, read so that what changes by itself does not count."""

from __future__ import annotations

import re
from pathlib import Path

from harness.images import Cache

#: How long an address or a route is still valid that came by DHCP or a router's advertisement.
_LIFETIME = re.compile(r" (?:valid_lft|preferred_lft|expires) \S+")


def mounts() -> list[str]:
    """Return what is mounted here, without the root file systems that are being built in the cache.

    mmdebstrap mounts /proc and /dev in them in a mount namespace of its own, but where the host's
    mounts are shared, as systemd has them, they show here as well; and another test may be
    building one.
    """
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return sorted(line for line in lines if f"{Cache().root}/" not in line)


def without_lifetimes(text: str) -> str:
    """Return what `ip address` or `ip route` says without the seconds that count down in it."""
    return _LIFETIME.sub("", text)
