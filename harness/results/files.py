"""The regular files of a run's folder; nothing else is exported or merged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.files import is_draft

LARGEST_FILE = 16 << 30
"""Bytes; a file that is larger, on disk perhaps a hole, would be read for hours."""


def plain_files(folder: Path) -> Iterator[Path]:
    """Yield all regular files under ``folder`` by name, without links and devices.

    Drafts (:func:`harness.files.is_draft`) do not count.
    """
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            if path.is_file() and not path.is_symlink() and not is_draft(name):
                yield path


def odd_file(folder: Path) -> str | None:
    """Return what under ``folder`` is neither a folder nor a file of any size that is written here.

    None if nothing is. A FIFO is waited for without end, and a device may be read without end. A
    link counts as what it leads to.
    """
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if not path.is_file() or path.stat().st_size > LARGEST_FILE:
                return path.relative_to(folder).as_posix()
    return None


def fingerprint(folder: Path) -> str:
    """Return one SHA-256 over the names and contents of all plain files."""
    hashed = hashlib.sha256()
    for path in sorted(plain_files(folder)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        hashed.update(f"{digest}  {path.relative_to(folder).as_posix()}\n".encode())
    return hashed.hexdigest()
