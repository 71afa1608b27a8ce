"""A checkpoint's pages laid over its base's, in a process that maps as QEMU does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.images import Cache
from harness.vm.memory_delta import PAGE
from harness.vm.overlay import Overlay

pytestmark = pytest.mark.integration

PAGES = 32

#: Maps a file copy on write, writes to a page, and prints the first byte of each.
PROCESS = f"""
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)
memory[31 * {PAGE}] = 0x77
memory[3 * {PAGE}] = 0x77
print(bytes(memory[:: {PAGE}]).hex())
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "ram").write_bytes(b"".join(bytes([n]) * PAGE for n in range(PAGES)))
    return tmp_path / "base"


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    """Pages 2 to 4 and 9, in a folder whose name no loader could take."""
    kept = tmp_path / "kept: of here"
    kept.mkdir()
    np.array([(2, 3, 0), (9, 1, 3)], dtype="<i8").tofile(kept / "ram.index")
    (kept / "ram.pages").write_bytes(b"".join(bytes([0xA0 + n]) * PAGE for n in range(4)))
    (tmp_path / "run").mkdir()
    return Overlay(kept, Cache(), tmp_path / "run")


def seen(overlay: Overlay, file: Path) -> subprocess.CompletedProcess[str]:
    name, _, value = overlay.environment.partition("=")
    return subprocess.run(
        [sys.executable, "-c", PROCESS, str(file)],
        env={**os.environ, "LD_PRELOAD": str(overlay.library), name: value},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_pages_lie_over_the_base_and_neither_is_written_to(
    base: Path, overlay: Overlay
) -> None:
    before = (base / "ram").read_bytes()
    expected = bytearray(range(PAGES))
    expected[2:5], expected[9] = b"\xa0\xa1\xa2", 0xA3
    expected[3] = expected[31] = 0x77
    done = seen(overlay, base / "ram")
    assert bytes.fromhex(done.stdout.strip()) == expected, done.stderr
    assert (base / "ram").read_bytes() == before
    again = seen(overlay, base / "ram")
    assert again.stdout == done.stdout


def test_other_files_are_mapped_as_they_are(base: Path, overlay: Overlay) -> None:
    other = (base / "ram").rename(base / "inbox")
    expected = bytearray(range(PAGES))
    expected[3] = expected[31] = 0x77
    assert bytes.fromhex(seen(overlay, other).stdout.strip()) == expected


def test_pages_beyond_the_base_end_the_process(base: Path, overlay: Overlay) -> None:
    (base / "ram").write_bytes(b"x" * PAGE * 8)
    assert seen(overlay, base / "ram").returncode == -6
