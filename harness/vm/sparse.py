"""Sparse files: copy them as such, give back blocks of zeros, say what they truly take."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from pathlib import Path

from harness.errors import MicrovmError

_BLOCK = 1 << 16
_FALLOC_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01


def copy(source: Path, target: Path) -> None:
    """Copy a file, holes as holes; shares blocks where the file system can."""
    command = ["cp", "--sparse=always", "--reflink=auto", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MicrovmError(f"{source.name} could not be copied: {done.stderr.strip()}")


def disk_use(path: Path) -> int:
    """Bytes on disk of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(disk_use(entry) for entry in path.iterdir())
    return path.stat().st_blocks * 512


def dig_holes(path: Path) -> int:
    """Turn 64 KiB blocks of zeros into holes; returns the bytes won. Contents stay the same.

    On a file system without holes nothing changes and 0 is returned.
    """
    before = disk_use(path)
    zeros = bytes(_BLOCK)
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b", buffering=0) as file:
        fd = file.fileno()
        end = os.fstat(fd).st_size
        position = 0
        while position < end:
            try:
                position = os.lseek(fd, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole from here to the end
                    break
                raise
            position -= position % _BLOCK
            stop = os.lseek(fd, position, os.SEEK_HOLE) if position < end else end
            stop = max(stop, position + 1)
            while position < stop:
                piece = os.pread(fd, _BLOCK, position)
                if piece == zeros and libc.fallocate(
                    fd,
                    _FALLOC_PUNCH_HOLE_KEEP_SIZE,
                    ctypes.c_int64(position),
                    ctypes.c_int64(_BLOCK),
                ):
                    return before - disk_use(path)
                position += _BLOCK
    return before - disk_use(path)
