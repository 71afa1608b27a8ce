"""Files that are written atomically, and sizes and ages as people read them.

Needs nothing but Python's own library and no Linux: reports are written anywhere.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DRAFT = ".part"
_SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_AGES = (("d", 86400), ("h", 3600), ("min", 60))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a draft next to ``path`` that replaces it when the block ends.

    When the block raises, the draft is removed and ``path`` stays as it was::

        with replacing(archive) as draft, tarfile.open(draft, "w") as tar:
            tar.add(folder)
    """
    # Two processes, or threads, may write the same file: the last one wins, never a mixture.
    draft = path.with_name(f".{path.name}.{threading.get_native_id()}{_DRAFT}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader finds the old content or the new. Text is UTF-8.

    Raises :class:`OSError` when it cannot be written; the file is then as it was.
    """
    with replacing(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def is_draft(name: str) -> bool:
    """Return whether a file or folder of this name is a draft that was never finished."""
    return name.startswith(".") and name.endswith(_DRAFT)


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock (flock) of a file; nobody does if it cannot be read."""
    import fcntl  # of Unix alone

    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def untrusted(folder: Path) -> str:
    """Return why what lies in ``folder`` may be another user's doing, as a clause; "" if not.

    Raises :class:`OSError` if it is not there.
    """
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        return "is a link" if stat.S_ISLNK(facts.st_mode) else "is not a folder"
    if facts.st_uid not in (0, os.geteuid()):
        return "belongs to another user"
    if facts.st_mode & stat.S_IWOTH:
        return "can be written to by everybody"
    above = folder.absolute().parent.stat()
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        return "is in a folder that everybody can write to"
    return ""


def human_size(count: float) -> str:
    """Return bytes in the largest unit that fits: ``1.5 GiB``, ``312 MiB``, ``17 B``."""
    for unit, length in _SIZES:
        if (amount := count / length) >= 1:
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{count:.0f} B"


def human_age(seconds: float) -> str:
    """Return a length of time in its largest whole unit: ``3 d``, ``5 h``, ``12 min``, ``9 s``."""
    for unit, length in _AGES:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
