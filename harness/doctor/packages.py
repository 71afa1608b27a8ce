"""Which Debian package brings what, and the line to type for it."""

from __future__ import annotations

PACKAGE_OF = {
    "depmod": "kmod",
    "fakeroot": "fakeroot",
    "ip": "iproute2",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "tc": "iproute2",
    "iptables": "iptables",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "modprobe": "kmod",
    "mount": "mount",
    "newuidmap": "uidmap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "ps": "procps",
    "unshare": "util-linux",
}


def apt_line(*packages: str) -> str:
    """What to type, as root, to have ``packages``."""
    return "apt-get install " + " ".join(sorted(set(packages)))


def apt_line_for(program: str) -> str:
    """What to type to have ``program``; empty if no package is known."""
    package = PACKAGE_OF.get(program)
    return apt_line(package) if package else ""
