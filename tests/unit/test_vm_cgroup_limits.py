"""Limits of a container, as cgroups of both versions have them; and whose folders are trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import ImageError, LabError, MicrovmError
from harness.files import untrusted
from harness.images import Cache
from harness.lab.local_lab import _place_for
from harness.vm.cgroup_limits import CgroupLimits, oom_kills
from harness.vm.pool import Pool

MIB = 1 << 20


def limits(tmp_path: Path, membership: str, files: dict[str, str]) -> CgroupLimits:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "mounts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return CgroupLimits(tmp_path / "membership", tmp_path / "mounts")


def test_version_2_in_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "0::/\n",
        {
            "memory.max": str(4096 * MIB),
            "memory.current": str(3000 * MIB),
            "memory.stat": f"anon 1\ninactive_file {1000 * MIB}",
            "cpu.max": "150000 100000",
        },
    )
    assert found.memory_left() == 2096 * MIB
    assert found.cpus() == 1


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "0::/a/b\n",
        {
            "a/b/memory.max": "max",
            "a/b/memory.current": "1000",
            "a/memory.max": str(500 * MIB),
            "a/memory.current": str(100 * MIB),
            "a/b/cpu.max": "max 100000",
            "a/cpu.max": "350000 100000",
        },
    )
    assert found.memory_left() == 400 * MIB
    assert found.cpus() == 3


def test_version_1_with_the_path_of_the_host(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n",
        {
            "memory/memory.limit_in_bytes": str(300 * MIB),
            "memory/memory.usage_in_bytes": str(50 * MIB),
            "cpu,cpuacct/cpu.cfs_quota_us": "50000",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert found.memory_left() == 250 * MIB
    assert found.cpus() == 1, "half a CPU is slow, and not none"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.max": "max", "memory.current": "7", "cpu.max": "max 100000"},
        {"memory.max": "nonsense", "memory.current": "", "cpu.max": "1"},
        {"memory/memory.limit_in_bytes": "9223372036854771712", "cpu.cfs_quota_us": "-1"},
    ],
)
def test_no_limit_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    found = limits(tmp_path, "0::/\n4:memory,cpu:/\n", files)
    assert found.memory_left() is None
    assert found.cpus() is None


def test_kills_for_want_of_memory_are_counted(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 7\noom_kill 3\n")
    assert oom_kills(tmp_path / "vmstat") == 3
    assert oom_kills(tmp_path / "none") == 0


def test_guests_are_as_many_as_the_container_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(CgroupLimits, "cpus", lambda _: 3)
    monkeypatch.setattr(CgroupLimits, "memory_left", lambda _: 100_000 * MIB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": 1 << 40}))
    assert Pool(runtime=tmp_path).slots == 3
    monkeypatch.setattr(CgroupLimits, "memory_left", lambda _: 2000 * MIB)
    assert Pool(runtime=tmp_path).slots == 2


def test_a_wait_for_a_cpu_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    one, other = (Pool(1, guest_mib=1, runtime=tmp_path) for _ in range(2))
    with one.slot(say=said.append):
        assert said == []
        with pytest.raises(Exception, match="run a guest"), other.slot(within=2, say=said.append):
            pass
    assert said == ["waiting for a CPU: 1 guest runs, each on one of its own"]


@pytest.fixture
def others(tmp_path: Path) -> dict[str, Path]:
    """Folders that are not to be trusted, by the word that says why."""
    (tmp_path / "target").mkdir()
    (tmp_path / "is a link").symlink_to(tmp_path / "target")
    (tmp_path / "can be written to by everybody").mkdir()
    (tmp_path / "can be written to by everybody").chmod(0o777)
    above = tmp_path / "above"
    above.mkdir()
    (above / "is in a folder").mkdir()
    above.chmod(0o777)
    made = {name.name: name for name in tmp_path.iterdir() if name.name not in ("target", "above")}
    made["is in a folder"] = above / "is in a folder"
    if os.geteuid() == 0:
        foreign = tmp_path / "belongs to another user"
        foreign.mkdir()
        os.chown(foreign, 12345, 12345)
        made[foreign.name] = foreign
    return made


def test_folders_of_others_are_refused_with_a_sentence(
    others: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert untrusted(tmp_path) == ""
    for why, folder in others.items():
        assert why in untrusted(folder)
        with pytest.raises(MicrovmError, match=f"locks.*{why}"):
            Pool(guest_mib=1, runtime=folder)
        monkeypatch.setenv("SWARM_CHAOS_LABS", str(folder))
        monkeypatch.setattr("harness.lab.local_lab._LONGEST_FOLDER", 1000)
        with pytest.raises(LabError, match=f"labs.*{why}"):
            _place_for("0a1b2c3d")
        if why != "is a link":
            with pytest.raises(ImageError, match=f"cache.*{why}"):
                Cache(folder)
