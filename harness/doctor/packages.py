"""Which Debian package contains which program, and the command that installs it."""

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
    """Return the command, for root, that installs ``packages``."""
    return "apt-get install " + " ".join(sorted(set(packages)))


def apt_line_for(program: str) -> str:
    """Return the command that installs ``program``; "" if its package is not known."""
    package = PACKAGE_OF.get(program)
    return apt_line(package) if package else ""
