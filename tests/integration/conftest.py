"""What the integration tests share: an engine, and what of the host must stay as it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine import Engine, provide, resolve
from harness.images import Cache
from harness.swarm import seed_for


@pytest.fixture(scope="session")
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("nodes as namespaces need root")


@pytest.fixture(scope="session")
def stable(as_root: None) -> Engine:
    """The stable engine, from the cache or built."""
    return provide(resolve("stable"), Cache(), say=print)


@pytest.fixture(scope="session")
def seed_of(as_root: None) -> Callable[..., Path | None]:
    """From an engine to the `/var/lib/docker` with the workload images."""
    return seed_for(Cache(), say=print)


def said(*argv: str) -> Any:
    """What a program prints; nothing when there is no such program."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


@pytest.fixture
def host_state() -> Callable[..., dict[str, Any]]:
    """A function that reads what of the host a lab must leave as it is."""

    def read() -> dict[str, Any]:
        groups = {}
        for mount in (line.split() for line in Path("/proc/mounts").read_text().splitlines()):
            if mount[2] in ("cgroup", "cgroup2"):
                groups[mount[1]] = sorted(
                    str(path) for path in Path(mount[1]).glob("*") if path.is_dir()
                )
        return {
            "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
            "addresses": said("ip", "-o", "address", "show", "scope", "global"),
            "routes": said("ip", "route", "show", "table", "all"),
            "netns": sorted(path.name for path in Path("/run/netns").glob("*")),
            "mounts": sorted(Path("/proc/self/mounts").read_text().splitlines()),
            "qdiscs": said("tc", "qdisc"),
            "iptables": [
                line for line in said("iptables-save").splitlines() if line.startswith("-")
            ],
            "nft": said("nft", "--stateless", "list", "ruleset"),
            "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
            "groups": groups,
        }

    return read
