"""Faults of resources: what is refused, and how cgroups of either version are read and set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optionals import not_none
from stand_ins import UNUSED, FakeNode

from harness.errors import FaultError, LabError, UsageError
from harness.faults.catalogue import kind_of, read_parameters
from harness.faults.resource import (
    ClockJumped,
    CpuHogged,
    CpuLimited,
    DiskFull,
    DiskOwned,
    DiskSlowed,
    DockerdMemoryLimited,
    InotifyExhausted,
    MemoryHeld,
    MemoryLimited,
)
from harness.faults.resource.controllers import controller
from harness.faults.resource.disk import _accepts, _fill_up, _free
from harness.faults.resource.kernel_limits import _lowest_free

MIB = 1 << 20


@pytest.fixture
def node() -> SimpleNamespace:
    groups = SimpleNamespace(unified=None, v1=(), entry=list, leaves=list)
    disks = SimpleNamespace(of=lambda folder: None)
    return FakeNode(name="w1", up=True, groups=groups, disks=disks)


def swarm_on(*, own_kernel: bool) -> Any:
    return SimpleNamespace(lab=SimpleNamespace(own_kernel=own_kernel))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda node: CpuLimited(UNUSED, node, share=0.0), "share: 0.0 is not a valid share"),
        (lambda node: CpuLimited(UNUSED, node, share=1.5), "1.5 is not a valid share"),
        (
            lambda node: CpuHogged(UNUSED, node, processes=0),
            "0 is not a valid count: .* from 1 to 64",
        ),
        (lambda node: CpuHogged(UNUSED, node, weight=1000), "weight: 1000 is not a valid count"),
        (
            lambda node: MemoryLimited(UNUSED, node, limit=MIB),
            "1048576 B is not a valid size: .* from 32MiB",
        ),
        (lambda node: DockerdMemoryLimited(UNUSED, node, room=0), "room: 0 B is not a valid size"),
        (lambda node: MemoryHeld(UNUSED, node, amount=0), "amount: 0 B is not a valid size"),
        (
            lambda node: DiskOwned(UNUSED, node, folder="home"),
            "'home' is not a valid choice: .* swarm, docker",
        ),
        (
            lambda node: DiskOwned(UNUSED, node, size=MIB),
            "valid size: give a size of 16MiB or more",
        ),
        (lambda node: DiskFull(UNUSED, node, room=-1), "room: -1 B is not a valid size"),
        (lambda node: DiskSlowed(UNUSED, node, writes=0), "writes: 0 1/s is not a valid count"),
        (lambda node: ClockJumped(UNUSED, UNUSED, by=0.0), "by: 0.0 s is not a valid duration"),
        (lambda node: ClockJumped(UNUSED, UNUSED, by=60.0, direction="left"), "'left'"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(
    node: SimpleNamespace, make: Callable[..., Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        make(node)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("cpu-limited", {"share": "150%"}, "'150%' is not a valid share"),
        ("cpu-hogged", {"processes": "-1"}, "'-1' is not a valid count"),
        ("memory-limited", {"limit": "64"}, "'64' is not a valid size"),
        ("descriptors-exhausted", {"spare": "-1"}, "'-1' is not a valid count"),
        ("disk-slowed", {"writes": "20/s"}, "'20/s' is not a valid count"),
        ("own-disk", {"folder": "/var"}, "'/var' is not a valid choice"),
        ("clock-jumped", {"by": "90"}, "'90' is not a valid duration"),
    ],
)
def test_words_that_cannot_be_are_refused(name: str, words: Mapping[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_parameters(kind_of(name), words)


def test_what_the_lab_cannot_do_is_said_with_the_reason(node: Any) -> None:
    with pytest.raises(FaultError, match="no disk of its own") as refusal:
        DiskFull(UNUSED, node).precheck()
    assert "own-disk folder=swarm" in not_none(refusal.value.hint)
    with pytest.raises(FaultError, match="controller cpu is not available to w1"):
        CpuLimited(UNUSED, node, share=0.1).precheck()


def test_what_nodes_share_is_left_alone_unless_the_kernel_is_their_own() -> None:
    for fault in (ClockJumped, InotifyExhausted):
        more: Any = {"by": 60.0} if fault is ClockJumped else {}
        with pytest.raises(FaultError, match="share the kernel of its host") as refusal:
            fault(UNUSED, swarm_on(own_kernel=False), **more).precheck()
        assert "--lab microvm" in not_none(refusal.value.hint)
        fault(UNUSED, swarm_on(own_kernel=True), **more).precheck()


# -- cgroups ---------------------------------------------------------------------------------------


def groups_in(
    tmp_path: Path,
    *,
    unified: Sequence[str] | tuple[Any, ...] = (),
    v1: Sequence[str] | tuple[Any, ...] = (),
) -> Any:
    """A node's groups as files: controllers of version 2, and hierarchies of version 1."""
    at = tmp_path / "v2/swarm-chaos/id/w1"
    at.mkdir(parents=True)
    (at / "cgroup.controllers").write_text(" ".join(unified) + "\n")
    old = [tmp_path / "v1" / name / "swarm-chaos/id/w1" for name in v1]
    for group in old:
        group.mkdir(parents=True)
    return FakeNode(name="w1", groups=SimpleNamespace(unified=at, v1=tuple(old)))


def test_a_controller_is_found_in_the_hierarchy_that_has_it(tmp_path: Path) -> None:
    node: Any = groups_in(tmp_path, unified=["pids", "io"], v1=["cpu,cpuacct", "memory"])
    assert controller(node, "pids").version == 2
    assert controller(node, "io").version == 2
    assert controller(node, "cpuacct").group == tmp_path / "v1/cpu,cpuacct/swarm-chaos/id/w1"
    assert controller(node, "memory").version == 1
    with pytest.raises(FaultError, match="cpuset is not available"):
        controller(node, "cpuset")


def test_disks_have_another_name_in_version_1(tmp_path: Path) -> None:
    assert controller(groups_in(tmp_path, v1=["blkio"]), "io").version == 1


@pytest.mark.parametrize(
    ("unified", "v1", "file", "limited", "free"),
    [
        (["cpu"], [], "cpu.max", "25000 100000", "max 100000"),
        ([], ["cpu"], "cpu.cfs_quota_us", "25000", "-1"),
    ],
)
def test_a_share_of_a_cpu_is_a_quota(
    tmp_path: Path, unified: Sequence[str], v1: Sequence[str], file: str, limited: str, free: str
) -> None:
    node: Any = groups_in(tmp_path, unified=unified, v1=v1)
    node.up = True
    cpu = controller(node, "cpu")
    fault = CpuLimited(UNUSED, node, share=0.25)
    fault.apply()
    assert cpu.read(file) == limited
    with pytest.raises(FaultError, match="still has a quota of 25000 us"):
        fault.evidence_of_healing()
    fault.undo()
    assert cpu.read(file) == free
    assert "no quota" in fault.evidence_of_healing()


def test_counters_are_read_by_name(tmp_path: Path) -> None:
    node: Any = groups_in(tmp_path, unified=["cpu"])
    cpu = controller(node, "cpu")
    (cpu.group / "cpu.stat").write_text("usage_usec 12\nnr_throttled 3\n")
    assert cpu.counter("cpu.stat", "nr_throttled") == 3
    assert cpu.counter("cpu.stat", "nr_bursts") == 0
    with pytest.raises(LabError, match=r"cannot read cpu.pressure of w1: No such file"):
        cpu.read("cpu.pressure")


# -- tables and disks ------------------------------------------------------------------------------


def test_the_lowest_free_descriptor_is_the_next_one() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        not_none(process.stdin).write(b"past the loader, which has libraries open\n")
        not_none(process.stdin).flush()
        not_none(process.stdout).readline()
        assert _lowest_free(process.pid) == 3
        not_none(
            process.stdin
        ).close()  # ends it, as leaving the block would if the line above failed
    with pytest.raises(LabError, match="is gone"):
        _lowest_free(2**22 + 1)


def test_a_full_disk_accepts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    room = [100_000]
    real = os.write

    def write(descriptor: Any, piece: Any) -> Any:
        if len(piece) > room[0]:
            raise OSError(28, "No space left on device")
        room[0] -= len(piece)
        return real(descriptor, piece)

    monkeypatch.setattr(os, "write", write)
    with (tmp_path / "filler").open("wb") as filler:
        _fill_up(filler.fileno())
    assert room[0] == 0
    assert (tmp_path / "filler").stat().st_size == 100_000


def test_a_disk_with_room_accepts_a_write_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    assert _free(tmp_path) > 0
    assert _accepts(tmp_path, 4096)
    assert list(tmp_path.iterdir()) == []
