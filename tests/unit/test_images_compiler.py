"""What is done to a compiled library: it says that it needs no executable stack."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from optionals import not_none

from harness.errors import ImageError, MissingError
from harness.images import Cache, portable_program
from harness.images.compiler import (
    DebianCompiler,
    compile_library,
    debian_compiler,
    without_executable_stack,
)

LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551


def library(*kinds: int, tail: bytes = b"contents") -> bytes:
    """A file with a table of these segments behind its header, and ``tail``."""
    header = bytearray(64)
    header[:4] = b"\x7fELF"
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<HH", header, 54, 56, len(kinds))
    table = b"".join(struct.pack("<IIQQQQQQ", kind, 5, 0, 0, 0, 9, 9, 8) for kind in kinds)
    return bytes(header) + table + tail


def segments(body: bytes) -> list[tuple[int, ...]]:
    (start,) = struct.unpack_from("<Q", body, 32)
    size, count = struct.unpack_from("<HH", body, 54)
    return [struct.unpack_from("<IIQQQQQQ", body, start + size * n) for n in range(count)]


@pytest.mark.parametrize("tail", [b"", b"odd", b"contents"])
def test_a_library_that_says_nothing_of_its_stack_gets_a_segment_that_does(tail: bytes) -> None:
    before = library(LOAD, LOAD, DYNAMIC, tail=tail)
    after = without_executable_stack(before)
    assert segments(after)[:3] == segments(before)
    kind, flags, *_ = segments(after)[3]
    assert (kind, flags) == (STACK, 6), "readable and writable, not executable"
    # All that was there is still in its place, but for where the table is and how long.
    changed = [n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b]
    assert set(changed) <= {*range(32, 40), 56, 57}


def test_one_that_says_it_already_is_left_alone() -> None:
    before = library(LOAD, STACK)
    assert without_executable_stack(before) is before


def test_what_the_compiler_says_is_in_the_error(tmp_path: Path) -> None:
    loader = tmp_path / "lib" / "ld-linux-x86-64.so.2"
    loader.parent.mkdir()
    loader.write_text("#!/bin/sh\necho 'x.c:1: error: that is no C' >&2\nexit 1\n")
    loader.chmod(0o755)
    with pytest.raises(ImageError, match=r"x\.c cannot be compiled: x\.c:1: error: that is no C"):
        compile_library(DebianCompiler(tmp_path), Path("x.c"), tmp_path / "x.so")
    assert not (tmp_path / "x.so").exists()


def test_another_kind_of_machine_is_told_so_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable_program, "machine_here", lambda: "aarch64")
    monkeypatch.setattr("harness.images.compiler.machine_here", lambda: "aarch64")
    with pytest.raises(MissingError, match="aarch64") as caught:
        debian_compiler(Cache(tmp_path), say=pytest.fail)
    assert "namespaces lab" in not_none(caught.value.hint)
