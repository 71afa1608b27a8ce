"""Which pages of a process differ from the file that they were mapped from, and what is kept."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.vm import memory_delta
from harness.vm.memory_delta import PAGE, MemoryDelta, digest_of, joined, pages_bytes, runs_of

PAGES = 64


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "ram").write_bytes(os.urandom(PAGES * PAGE))
    return tmp_path


@pytest.fixture
def memory(base: Path) -> Iterator[mmap.mmap]:
    """The base's file as QEMU has it: a private copy."""
    with (
        (base / "ram").open("r+b") as file,
        mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as mapped,
    ):
        yield mapped


def kept(folder: Path, content: bytes) -> bytes:
    """The base with a delta's pages over it."""
    whole = bytearray(content)
    pages = (folder / "ram.pages").read_bytes()
    for first, count, at in np.fromfile(folder / "ram.index", dtype="<i8").reshape(-1, 3):
        whole[first * PAGE : (first + count) * PAGE] = pages[at * PAGE : (at + count) * PAGE]
    return bytes(whole)


def test_what_differs_is_kept_and_what_was_only_touched_is_not(
    base: Path, memory: mmap.mmap, tmp_path: Path
) -> None:
    content = (base / "ram").read_bytes()
    memory[5 * PAGE] ^= 1
    memory[6 * PAGE + 17] ^= 1
    memory[40 * PAGE + 4095] ^= 1
    memory[20 * PAGE] = memory[20 * PAGE]  # a copy by now, of the same content
    delta = MemoryDelta(os.getpid(), "ram", base, None)
    assert list(delta.pages) == [5, 6, 40]
    (tmp_path / "kept").mkdir()
    delta.write(tmp_path / "kept")
    digest = delta.digest()
    assert digest_of(tmp_path / "kept", "ram") == digest
    assert kept(tmp_path / "kept", content) == memory[:]
    assert pages_bytes(tmp_path / "kept" / "ram.index") == 3 * PAGE
    assert (base / "ram").read_bytes() == content
    assert MemoryDelta(os.getpid(), "ram", base, None).digest() == digest
    memory[40 * PAGE] ^= 1
    assert MemoryDelta(os.getpid(), "ram", base, None).digest() != digest


def test_few_runs_join_what_lies_between(base: Path, memory: mmap.mmap, tmp_path: Path) -> None:
    for page in range(0, PAGES, 3):
        memory[page * PAGE] ^= 1
    (tmp_path / "kept").mkdir()
    MemoryDelta(os.getpid(), "ram", base, None).write(tmp_path / "kept", most_runs=2)
    assert np.fromfile(tmp_path / "kept" / "ram.index", dtype="<i8").size <= 3 * 2
    assert kept(tmp_path / "kept", (base / "ram").read_bytes()) == memory[:]


def test_more_pages_than_are_read_or_written_at_once(tmp_path: Path) -> None:
    pages = 5 * memory_delta._PIECE + 3
    (tmp_path / "ram").write_bytes(bytes(pages * PAGE))
    (tmp_path / "kept").mkdir()
    with (
        (tmp_path / "ram").open("r+b") as file,
        mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as memory,
    ):
        for page in (*range(10, pages - 700), pages - 1):
            memory[page * PAGE] = page % 251 + 1
        delta = MemoryDelta(os.getpid(), "ram", tmp_path, None)
        delta.write(tmp_path / "kept")
        assert kept(tmp_path / "kept", bytes(pages * PAGE)) == memory[:]
        assert digest_of(tmp_path / "kept", "ram") == delta.digest()


def test_a_machine_like_its_base_has_a_delta_of_nothing(
    base: Path, memory: mmap.mmap, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    MemoryDelta(os.getpid(), "ram", base, None).write(tmp_path / "kept")
    assert [file.stat().st_size for file in (tmp_path / "kept").iterdir()] == [0, 0]


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 20))
def test_joined_runs_hold_all_pages_and_are_no_more_than_asked_for(
    pages: set[int], most: int
) -> None:
    runs = runs_of(np.array(sorted(pages), dtype=np.int64))
    assert sorted(page for first, n in runs for page in range(first, first + n)) == sorted(pages)
    fewer = joined(runs, most)
    assert len(fewer) <= most
    assert pages <= {page for first, n in fewer for page in range(first, first + n)}
    assert all(a + n < b for (a, n), (b, _) in pairwise(fewer))


@given(
    st.lists(st.integers(min_value=1, max_value=5000), min_size=1, max_size=60),
    st.integers(min_value=1, max_value=4),
)
def test_shares_are_all_runs_in_their_order(counts: list[int], most: int) -> None:
    lengths = np.array(counts, dtype=np.int64)
    table = np.column_stack([np.cumsum(2 * lengths), lengths, np.cumsum(lengths) - lengths])
    shares = memory_delta._shares(table, most)
    assert 1 <= len(shares) <= most
    assert np.concatenate(shares).tolist() == table.tolist()
    fair = lengths.sum() / most + lengths.max()
    assert all(share[:, 1].sum() <= fair for share in shares)
