"""What a running guest has changed of the machine it was thawed from, page by page.

QEMU's memory and root file system are private copies of a snapshot's files. The kernel says which
pages are copies by now (``/proc/PID/pagemap``), and gives their content (``/proc/PID/mem``), both
to the process that started QEMU, without privilege. A page that is a copy and has the file's
content still is left out, so a machine's difference does not depend on how it came about.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import MicrovmError

PAGE = 4096

#: Runs of pages at most, over memory and root: each takes two of the 65,530 mappings that a
#: process may have.
_MOST_RUNS = 12_000

#: Pages that are compared at once: what a CPU's cache holds twice.
_CHUNK = 256

#: Pages that are written at once.
_PIECE = 1024

#: A guest stands still while its pages are copied, and Python holds no lock while it copies.
_THREADS = min(4, len(os.sched_getaffinity(0)))

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

    def write(self, folder: Path, *, most_runs: int = _MOST_RUNS // 2) -> None:
        """Write ``NAME.pages`` and ``NAME.index`` into a folder. Raises :class:`OSError`."""
        table = self._table(most_runs)
        (folder / f"{self.name}.index").write_bytes(table.tobytes())
        with (folder / f"{self.name}.pages").open("wb", buffering=0) as out:
            if not len(table):
                return
            # To ask ext4 for all blocks at once takes a tenth of what it takes piece by piece.
            os.posix_fallocate(out.fileno(), 0, int(table[:, 1].sum()) * PAGE)

            def fill(share: Pages) -> None:
                at = int(share[0, 2]) * PAGE
                for content in self._contents(share):
                    at += _written(out.fileno(), content, at)

            with ThreadPoolExecutor(_THREADS) as threads:
                list(threads.map(fill, _shares(table, _THREADS)))

    def digest(self, *, most_runs: int = _MOST_RUNS // 2) -> str:
        """Return what :func:`digest_of` returns of what :meth:`write` writes, and write nothing."""
        table = self._table(most_runs)
        found = hashlib.sha256()
        for content in self._contents(table):
            found.update(content)
        found.update(table.tobytes())
        return found.hexdigest()

    def _table(self, most_runs: int) -> Pages:
        """Return each run's first page, its number of pages, and its place in ``NAME.pages``."""
        runs = np.array(joined(runs_of(self.pages), most_runs), dtype="<i8").reshape(-1, 2)
        return np.column_stack([runs, np.cumsum(runs[:, 1]) - runs[:, 1]])

    def _contents(self, table: Pages) -> Iterator[memoryview]:
        """Yield what the runs hold, in pieces of one size: few large writes cost the least."""
        buffer = memoryview(bytearray(_PIECE * PAGE))
        filled = 0
        with Path(f"/proc/{self._pid}/mem").open("rb", buffering=0) as memory:
            for first, count, _ in table.tolist():
                at, end = first, first + count
                while at < end:
                    pages = min(end - at, _PIECE - filled)
                    into = buffer[filled * PAGE : (filled + pages) * PAGE]
                    _read(memory.fileno(), self._start + at * PAGE, into)
                    at, filled = at + pages, filled + pages
                    if filled == _PIECE:
                        yield buffer
                        filled = 0
        if filled:
            yield buffer[: filled * PAGE]

    def _differing(self, touched: Pages) -> Pages:
        """Return which of the pages do not have the base's content, ascending as they are."""
        with ThreadPoolExecutor(_THREADS) as threads:
            found = list(threads.map(self._differing_of, np.array_split(touched, _THREADS)))
        return np.concatenate(found)

    def _differing_of(self, touched: Pages) -> Pages:
        kept = []
        now, then = (np.empty((_CHUNK, PAGE // 8), dtype="<u8") for _ in range(2))
        with (
            self._base.open("rb", buffering=0) as base,
            Path(f"/proc/{self._pid}/mem").open("rb", buffering=0) as memory,
        ):
            for page, pages in _chunks(runs_of(touched)):
                _read(memory.fileno(), self._start + page * PAGE, now[:pages].data)
                _read(base.fileno(), page * PAGE, then[:pages].data)
                differ = (now[:pages] != then[:pages]).any(axis=1)
                kept.append(np.nonzero(differ)[0] + page)
        return np.concatenate(kept) if kept else np.array([], dtype=np.int64)


def digest_of(folder: Path, name: str) -> str:
    """Return the sha256 of the delta ``name`` that was written into a folder."""
    with (folder / f"{name}.pages").open("rb") as pages:
        found = hashlib.file_digest(pages, "sha256")
    found.update((folder / f"{name}.index").read_bytes())
    return found.hexdigest()


def pages_bytes(index: Path) -> int:
    """Return how many bytes the pages of an index take."""
    return int(np.fromfile(index, dtype="<i8").reshape(-1, 3)[:, 1].sum()) * PAGE


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
        # What was removed since it was mapped is there no less.
        file = words[5].removesuffix(" (deleted)").rpartition("/")[2] if len(words) > 5 else ""
        if file in (name, f"{name}.pages"):
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


def _chunks(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, count in runs:
        for at in range(first, first + count, _CHUNK):
            yield at, min(_CHUNK, first + count - at)


def _shares(table: Pages, most: int) -> list[Pages]:
    """Cut a table of runs into ``most`` parts or fewer, of about as many pages each."""
    cuts = np.searchsorted(table[:, 2], np.arange(1, most) * table[:, 1].sum() // most)
    return [share for share in np.split(table, cuts) if len(share)]


def _written(descriptor: int, content: memoryview, at: int) -> int:
    done = 0
    while done < content.nbytes:
        done += os.pwrite(descriptor, content[done:], at + done)
    return done


def _read(descriptor: int, offset: int, into: memoryview) -> None:
    if os.preadv(descriptor, [into], offset) != into.nbytes:
        raise MicrovmError("the guest's memory could not be read")
