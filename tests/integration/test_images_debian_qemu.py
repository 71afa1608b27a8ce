"""Debian's QEMU from a real mirror: it runs from the cache, under its own name, and boots."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.images import Cache
from harness.images.debian_qemu import PROGRAM, DebianQemu, debian_qemu, reported_version
from harness.vm.qemu_binary import Qemu
from harness.vm.qemu_process import Emulator

pytestmark = pytest.mark.integration

MACHINE = ["-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-m", "64"]


@pytest.fixture(scope="module")
def qemu() -> DebianQemu:
    return debian_qemu(Cache(), say=print)


def test_it_says_its_version_and_is_small(qemu: DebianQemu) -> None:
    assert qemu.version.startswith("10.0.")
    assert "Debian 1:10.0." in qemu.version
    assert reported_version(qemu.command) == qemu.version
    [entry] = [e for e in Cache().entries() if e.path == qemu.folder]
    assert entry.manifest.size < 100 << 20
    assert entry.damage(contents=True) == []


def test_it_starts_a_paused_machine_from_wherever_the_cache_is(
    qemu: DebianQemu, tmp_path: Path
) -> None:
    moved = tmp_path / "cache, moved"
    shutil.copytree(qemu.folder, moved)
    elsewhere = type(qemu)(qemu.version, moved)
    own = Qemu(elsewhere.version, elsewhere.command, elsewhere.loader)
    emulator = Emulator(own, MACHINE, log=tmp_path / "log", cpu=None)
    try:
        assert emulator.status() in ("prelaunch", "paused")
        assert emulator.qmp.ask("query-version")["qemu"]["major"] == 10
        process = Path(f"/proc/{emulator.process.pid}")
        # What people look for with pgrep and top, though it is the loader that runs.
        assert (process / "comm").read_text().strip() == PROGRAM[:15]
        assert PROGRAM in (process / "cmdline").read_text()
        mapped = {
            line.split(maxsplit=5)[5].strip()
            for line in (process / "maps").read_text().splitlines()
            if ".so" in line
        }
        assert mapped
        assert {path for path in mapped if not path.startswith(str(moved))} == set()
        emulator.go()
        assert emulator.status() == "running"
    finally:
        emulator.close()
