"""What a running guest has changed of the machine it was thawed from, page by page.

QEMU's memory and root file system are private copies of a snapshot's files. The kernel says which
pages are copies by now (``/proc/PID/pagemap``), and gives their content (``/proc/PID/mem``), both
to the process that started QEMU, without privilege. A page that is a copy and has the file's
content still is left out, so a machine's difference does not depend on how it came about.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import MicrovmError

PAGE = 4096

#: Runs of pages at most, over memory and root: each takes two of the 65,530 mappings that a
#: process may have.
_MOST_RUNS = 12_000

#: Pages that are read at once.
_CHUNK = 1024

_PRESENT, _SWAPPED, _OF_A_FILE = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64(1 << 61)

Pages = npt.NDArray[np.int64]


class MemoryDelta:
    """The pages of one mapping of QEMU's that differ from its base's file.

    ``name``: ``ram`` or ``root``, the file's name in the folder ``base``. ``before``: the folder of
    the checkpoint that the guest was thawed from, whose pages lie over the base's.
    """

    def __init__(self, pid: int, name: str, base: Path, before: Path | None) -> None:
        self.name = name
        self._pid = pid
        self._base = base / name
        self._start, end = _mapped(pid, name)
        touched = _private_pages(pid, self._start, end)
        if before is not None:
            touched = np.union1d(touched, _pages_of(before / f"{name}.index"))
        self.pages = self._differing(touched)

    def write(self, folder: Path | None, *, most_runs: int = _MOST_RUNS // 2) -> str:
        """Write ``NAME.pages`` and ``NAME.index`` into a folder, if any; return their sha256."""
        runs = joined(runs_of(self.pages), most_runs)
        index, digest, at = [], hashlib.sha256(), 0
        with (
            Path(f"/proc/{self._pid}/mem").open("rb", buffering=0) as memory,
            (folder / f"{self.name}.pages" if folder else Path(os.devnull)).open("wb") as out,
        ):
            for first, count in runs:
                index.append((first, count, at))
                at += count
                for page, pages in _chunks(first, count):
                    content = _read(memory.fileno(), self._start + page * PAGE, pages)
                    digest.update(content)
                    out.write(content)
        table = np.array(index, dtype="<i8").tobytes()
        if folder is not None:
            (folder / f"{self.name}.index").write_bytes(table)
        digest.update(table)
        return digest.hexdigest()

    def _differing(self, touched: Pages) -> Pages:
        kept = []
        base = os.open(self._base, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Path(f"/proc/{self._pid}/mem").open("rb", buffering=0) as memory:
                for first, count in runs_of(touched):
                    for page, pages in _chunks(first, count):
                        now = _read(memory.fileno(), self._start + page * PAGE, pages)
                        then = _read(base, page * PAGE, pages)
                        differ = (_by_page(now) != _by_page(then)).any(axis=1)
                        kept.append(np.nonzero(differ)[0] + page)
        finally:
            os.close(base)
        return np.concatenate(kept) if kept else np.array([], dtype=np.int64)


def runs_of(pages: Pages) -> list[tuple[int, int]]:
    """Return ascending page numbers as runs: the first page of each, and how many."""
    if not len(pages):
        return []
    cuts = np.nonzero(np.diff(pages) != 1)[0] + 1
    starts = np.concatenate([[0], cuts])
    ends = np.concatenate([cuts, [len(pages)]])
    return [(int(pages[s]), int(e - s)) for s, e in zip(starts, ends, strict=True)]


def joined(runs: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Join runs over ever wider gaps until there are no more than ``most`` (at least 1)."""
    gap = 1
    while len(runs) > most:
        closer: list[tuple[int, int]] = []
        for first, count in runs:
            if closer and first - sum(closer[-1]) <= gap:
                closer[-1] = (closer[-1][0], first + count - closer[-1][0])
            else:
                closer.append((first, count))
        runs, gap = closer, gap * 2
    return runs


def _mapped(pid: int, name: str) -> tuple[int, int]:
    """Return where QEMU has the base's file ``name``, a checkpoint's pages over it included."""
    places = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split(None, 5)
        if len(words) > 5 and words[5].rpartition("/")[2] in (name, f"{name}.pages"):
            start, _, end = words[0].partition("-")
            places.append((int(start, 16), int(end, 16)))
    if not places:
        raise MicrovmError(f"QEMU has no {name} mapped")
    return min(start for start, _ in places), max(end for _, end in places)


def _private_pages(pid: int, start: int, end: int) -> Pages:
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as file:
        raw = os.pread(file.fileno(), (end - start) // PAGE * 8, start // PAGE * 8)
    entries = np.frombuffer(raw, dtype="<u8")
    if len(entries) != (end - start) // PAGE:
        raise MicrovmError("the kernel does not tell which pages of the guest have changed")
    private = ((entries & (_PRESENT | _SWAPPED)) != 0) & ((entries & _OF_A_FILE) == 0)
    return np.nonzero(private)[0].astype(np.int64)


def _pages_of(index: Path) -> Pages:
    table = np.fromfile(index, dtype="<i8").reshape(-1, 3)
    parts = [np.arange(first, first + count) for first, count, _ in table]
    return np.concatenate(parts) if parts else np.array([], dtype=np.int64)


def _chunks(first: int, count: int) -> Iterator[tuple[int, int]]:
    for at in range(first, first + count, _CHUNK):
        yield at, min(_CHUNK, first + count - at)


def _read(descriptor: int, offset: int, pages: int) -> bytes:
    content = os.pread(descriptor, pages * PAGE, offset)
    if len(content) != pages * PAGE:
        raise MicrovmError("the guest's memory could not be read")
    return content


def _by_page(content: bytes) -> npt.NDArray[Any]:
    return np.frombuffer(content, dtype="<u8").reshape(-1, PAGE // 8)
