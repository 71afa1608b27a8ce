"""The regular files of a run's folder; nothing else is exported or merged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.files import is_draft


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


def fingerprint(folder: Path) -> str:
    """Return one SHA-256 over the names and contents of all plain files."""
    hashed = hashlib.sha256()
    for path in sorted(plain_files(folder)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        hashed.update(f"{digest}  {path.relative_to(folder).as_posix()}\n".encode())
    return hashed.hexdigest()
