"""The plain files of a run's folder: nothing else of it travels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def plain_files(folder: Path) -> Iterator[Path]:
    """All regular files under ``folder``, by name; links and devices are passed by.

    Half-written files (``.name.part``) are not of the run.
    """
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            half = name.startswith(".") and name.endswith(".part")
            if path.is_file() and not path.is_symlink() and not half:
                yield path


def fingerprint(folder: Path) -> str:
    """One sha256 over names and contents of all plain files."""
    told = hashlib.sha256()
    for path in sorted(plain_files(folder)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        told.update(f"{digest}  {path.relative_to(folder).as_posix()}\n".encode())
    return told.hexdigest()
