"""What the integration tests share: an engine, and what of the host must stay as it is."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial
from host import mounts, without_lifetimes
from lab_builds import LabOf

from harness.engine import Engine, provide, resolve
from harness.images import Cache
from harness.lab import NamespacesLab, Topology
from harness.swarm import seed_for
from harness.trial import Trial

_LOG_LINES = 60


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, the end of each dockerd's log: a lab is gone when somebody reads of it."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(lab, NamespacesLab):
        for node in lab.nodes.values():
            with contextlib.suppress(OSError):
                lines = node.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                report.sections.append((f"dockerd of {node.name}", "\n".join(lines)))
    return report


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


@pytest.fixture(scope="session")
def lab_of(stable: Engine, seed_of: Callable[..., Path | None]) -> LabOf:
    """A function that builds a lab on the stable engine: ``with lab_of(1, 1) as lab``."""

    def build(managers: int = 1, workers: int = 0, spares: int = 0) -> NamespacesLab:
        topology = Topology(managers, workers, spares)
        return NamespacesLab.build(topology, lambda _: stable, seed_for=seed_of)

    return build


@pytest.fixture
def open_trial(tmp_path: Path) -> Iterator[Trial]:
    """A trial of no scenario, which must end without a doubt; the fixture `trial` is scenarios'."""
    trial = bare_trial(tmp_path / "trial")
    yield trial
    trial.finish(None)
    assert trial.doubts == []


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
        for mount in (line.split() for line in mounts()):
            if mount[2] in ("cgroup", "cgroup2"):
                groups[mount[1]] = sorted(
                    str(path) for path in Path(mount[1]).glob("*") if path.is_dir()
                )
        return {
            "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
            "addresses": without_lifetimes(said("ip", "-o", "address", "show", "scope", "global")),
            "routes": without_lifetimes(said("ip", "route", "show", "table", "all")),
            "netns": sorted(path.name for path in Path("/run/netns").glob("*")),
            "mounts": mounts(),
            "qdiscs": said("tc", "qdisc"),
            "iptables": [
                line for line in said("iptables-save").splitlines() if line.startswith("-")
            ],
            "nft": said("nft", "--stateless", "list", "ruleset"),
            "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
            "groups": groups,
        }

    return read
