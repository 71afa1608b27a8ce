"""Content hashes of large files, remembered so that nobody pays for them twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from harness.files import write_atomically


def of_file(path: Path, memo: Path | None = None) -> str:
    """sha256 of a file's contents, hexadecimal.

    With ``memo`` (a folder) the answer is remembered under the file's path, inode, size and
    modification time, so that a file of some hundred MB is read once and not at every start.
    """
    status = path.stat()
    identity = f"{path.resolve()}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}"
    note = memo / hashlib.sha256(identity.encode()).hexdigest() if memo else None
    if note is not None:
        with contextlib.suppress(OSError):
            remembered = note.read_text()
            if len(remembered) == 64:
                return remembered
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if note is not None:
        with contextlib.suppress(OSError):  # a cache that is only read is one, too
            note.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(note, digest)
    return digest


def of_bytes(data: bytes) -> str:
    """sha256 of bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def of_facts(facts: Mapping[str, object]) -> str:
    """Return a key for a set of named facts: any change in any of them changes it."""
    return of_bytes(json.dumps(facts, sort_keys=True, default=str).encode())[:24]
