"""Folders for what a guest needs only while it runs, and their removal after a kill -9.

They lie in memory where they can, so one left behind would cost memory until the next boot. Each
is locked by its owner as long as that lives, and the one who makes the next removes those that
nobody locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

GUEST = "swarm-chaos-guest-"
PAYLOAD = "swarm-chaos-payload-"
_YOUNG = 5.0  # seconds; one as new as this may not be locked yet


def scratch_root() -> Path | None:
    """Return where scratch folders go: memory if it is there, else the usual temporary folder."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK | os.X_OK) else None


class Scratch:
    """A folder of one's own under ``root`` (None: the usual temporary folder)."""

    def __init__(self, root: Path | None, prefix: str = GUEST) -> None:
        sweep(root)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder. Safe to call twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(root: Path | None) -> None:
    """Remove this user's scratch folders under ``root`` whose owners are gone."""
    for folder in abandoned(root):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(root: Path | None) -> list[Path]:
    """Return this user's scratch folders under ``root`` whose owners are gone."""
    place = Path(root or tempfile.gettempdir())
    folders = [folder for prefix in (GUEST, PAYLOAD) for folder in place.glob(f"{prefix}*")]
    return [folder for folder in folders if _abandoned(folder)]


def _abandoned(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        status = folder.lstat()
        if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG:
            return False
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
        return True
    return False
