"""Sparse files: copy them as such, give back blocks of zeros, say what they truly take."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.errors import MicrovmError


def copy(source: Path, target: Path) -> None:
    """Copy a file, holes as holes; shares blocks where the file system can."""
    command = ["cp", "--sparse=always", "--reflink=auto", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MicrovmError(f"{source.name} could not be copied: {done.stderr.strip()}")


def disk_use(path: Path) -> int:
    """Return bytes on disk of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(disk_use(entry) for entry in path.iterdir())
    return path.stat().st_blocks * 512


def dig_holes(path: Path) -> None:
    """Turn blocks of zeros into holes where the file system can; the content stays the same."""
    command = ["fallocate", "--dig-holes", str(path)]
    subprocess.run(command, capture_output=True, check=False)
