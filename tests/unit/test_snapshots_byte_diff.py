"""Holding a replay against its trial: every byte counts, and the first difference is shown."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.snapshots.byte_diff import Difference, compare
from harness.snapshots.job import JOB_RECORD_FILE

NAMES = [
    "journal.jsonl",
    "trial.json",
    "console.log",
    "samples/requests.jsonl",
    "logs/m1.log",
    "logs/m2.log",
    "notes.txt",
]


def lay_out(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def compared(recorded: Mapping[str, bytes], replayed: Mapping[str, bytes]) -> Difference | None:
    """What :func:`compare` says of two folders with these files."""
    with tempfile.TemporaryDirectory() as work:
        home = Path(work)
        (home / "a").mkdir()
        (home / "b").mkdir()
        return compare(lay_out(home / "a", recorded), lay_out(home / "b", replayed))


FOLDERS = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=60))
SOME_FILES = st.dictionaries(st.sampled_from(NAMES), st.binary(min_size=1, max_size=60), min_size=1)


@settings(deadline=None, max_examples=50)
@given(FOLDERS)
def test_folders_with_the_same_bytes_are_identical(files: Mapping[str, bytes]) -> None:
    assert compared(files, files) is None


@settings(deadline=None, max_examples=50)
@given(SOME_FILES, st.data())
def test_one_flipped_byte_anywhere_is_found_and_its_file_named(
    files: Mapping[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(files[name])
    changed[at] ^= flip
    difference = compared(files, {**files, name: bytes(changed)})
    assert difference is not None
    assert difference.file == name
    assert difference.files == (name,)
    # A newline that was made or lost changes the line that it is the end of.
    assert difference.line == files[name][:at].count(b"\n") + 1
    assert name in str(difference)


@settings(deadline=None, max_examples=50)
@given(SOME_FILES, st.data(), st.booleans())
def test_a_missing_file_is_a_difference_on_either_side(
    files: Mapping[str, bytes], data: st.DataObject, of_the_replay: bool
) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    fewer = {other: content for other, content in files.items() if other != name}
    difference = compared(files, fewer) if of_the_replay else compared(fewer, files)
    assert difference is not None
    assert difference.files == (name,)
    lacking = difference.replayed if of_the_replay else difference.recorded
    assert any("there is no such file" in line for line in lacking)


@settings(deadline=None, max_examples=50)
@given(SOME_FILES, SOME_FILES)
def test_it_does_not_matter_which_side_is_which(
    one: Mapping[str, bytes], other: Mapping[str, bytes]
) -> None:
    here, there = compared(one, other), compared(other, one)
    assert (here is None) == (there is None) == (one == other)
    if here is not None and there is not None:
        assert here.files == there.files
        assert (here.file, here.line) == (there.file, there.line)
        assert (here.recorded, here.replayed) == (there.replayed, there.recorded)


def lines(*numbers: int) -> bytes:
    return "".join(f"line {number}\n" for number in numbers).encode()


def test_the_first_differing_line_is_shown_with_three_lines_around_it() -> None:
    recorded = lines(*range(1, 21))
    difference = compared(
        {"logs/m1.log": recorded}, {"logs/m1.log": recorded.replace(b"line 10\n", b"LINE 10\n")}
    )
    assert difference is not None
    assert difference.line == 10
    assert difference.recorded == tuple(
        f"{'>' if number == 10 else ' '} {number}: line {number}" for number in range(7, 14)
    )
    assert "> 10: LINE 10" in difference.replayed
    told = str(difference)
    assert told.startswith("first difference in logs/m1.log, line 10\n")
    assert told.index("recorded:") < told.index("replayed:")


def test_at_the_first_line_there_is_nothing_before() -> None:
    difference = compared({"trial.json": lines(1, 2)}, {"trial.json": lines(9, 2)})
    assert difference is not None
    assert difference.recorded == ("> 1: line 1", "  2: line 2")


def test_a_file_that_ends_early_is_shown_to_end() -> None:
    difference = compared({"console.log": lines(1, 2, 3)}, {"console.log": lines(1, 2)})
    assert difference is not None
    assert difference.line == 3
    assert difference.replayed == ("  1: line 1", "  2: line 2", "> 3: (the file ends)")


def test_a_last_line_without_its_end_is_a_difference() -> None:
    difference = compared({"journal.jsonl": b"x\n"}, {"journal.jsonl": b"x"})
    assert difference is not None
    assert difference.recorded == ("> 1: x",)
    assert difference.replayed == ("> 1: x (no newline at its end)",)


def test_bytes_that_look_alike_are_shown_apart() -> None:
    difference = compared({"logs/m1.log": b"a\n\xff\x1b\n"}, {"logs/m1.log": b"a\n\xfe\x1b\n"})
    assert difference is not None
    assert difference.line == 2
    assert difference.recorded[-1] == r"> 2: \xff\x1b"
    assert difference.replayed[-1] == r"> 2: \xfe\x1b"


def test_a_long_line_is_cut() -> None:
    difference = compared({"notes.txt": b"a" * 5000}, {"notes.txt": b"b" * 5000})
    assert difference is not None
    assert all(len(line) < 300 for line in (*difference.recorded, *difference.replayed))


def test_what_happened_comes_before_what_was_logged() -> None:
    recorded = dict.fromkeys(NAMES, b"as it was")
    difference = compared(recorded, dict.fromkeys(NAMES, b"otherwise"))
    assert difference is not None
    assert difference.files == (
        "journal.jsonl",
        "samples/requests.jsonl",
        "logs/m1.log",
        "logs/m2.log",
        "trial.json",
        "console.log",
        "notes.txt",
    )
    assert f"{len(NAMES)} files differ" in str(difference)


def test_what_the_host_writes_beside_a_trial_does_not_count() -> None:
    files = {"journal.jsonl": b"x\n"}
    assert compared({**files, JOB_RECORD_FILE: b"recorded here"}, files) is None


def test_a_copied_folder_is_identical_whatever_its_time_stamps(tmp_path: Path) -> None:
    first = lay_out(tmp_path / "a", {"journal.jsonl": b"x\n", "samples/leadership.jsonl": b"{}\n"})
    shutil.copytree(first, tmp_path / "b", copy_function=shutil.copy)
    assert compare(first, tmp_path / "b") is None


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"\r\n", b"\x00", "π\u2028π\n".encode()])
def test_bytes_that_are_no_text_are_compared_all_the_same(content: bytes) -> None:
    assert compared({"console.log": content}, {"console.log": content}) is None
    difference = compared({"console.log": content}, {"console.log": content + b"!"})
    assert difference is not None
    assert difference.file == "console.log"
