"""Which Debian package contains which program, and the command that installs it."""

from __future__ import annotations

from collections.abc import Iterable

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
    "ssh": "openssh-client",
    "unshare": "util-linux",
}


_INSTALL = "apt-get install "


def apt_line(*packages: str) -> str:
    """Return the command, for root, that installs ``packages``."""
    return _INSTALL + " ".join(sorted(set(packages)))


def apt_line_of_all(todos: Iterable[str]) -> str:
    """Return one command for all packages that ``todos`` would install one by one; "" for none.

    What one says after a comma is another way to the same.
    """
    lines = [todo.removeprefix(_INSTALL) for todo in todos if todo.startswith(_INSTALL)]
    packages = [package for line in lines for package in line.partition(",")[0].split()]
    return apt_line(*packages) if packages else ""


def apt_line_for(program: str) -> str:
    """Return the command that installs ``program``; "" if its package is not known."""
    package = PACKAGE_OF.get(program)
    return apt_line(package) if package else ""
