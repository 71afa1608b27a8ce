"""Files are written atomically; sizes and ages are in the unit that people would choose."""

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.files import human_age, human_size, is_draft, is_locked, replacing, write_atomically


def test_a_file_is_replaced_with_text_or_bytes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, "grüße")
    assert file.read_bytes() == "grüße".encode()
    write_atomically(file, b"\x00")
    assert file.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_could_not_be_written_is_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def half() -> None:
        with replacing(file) as draft:
            draft.write_text("ne")
            assert is_draft(draft.name)
            assert draft.parent == file.parent, "a draft elsewhere may be on another file system"
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", "")


def test_two_writers_never_make_a_mixture(tmp_path: Path) -> None:
    file = tmp_path / "file"
    contents = [letter * (1 << 16) for letter in "abcd"]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda content: write_atomically(file, content), contents * 20))
    assert file.read_text() in contents
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "expected"),
    [(".run.json.4711.part", True), ("run.json", False), ("a.part", False), (".part.json", False)],
)
def test_drafts_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_draft(name) is expected


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (12_345, "12 KiB")),
        *((1 << 20, "1.0 MiB"), (312 << 20, "312 MiB"), (3 << 29, "1.5 GiB"), (37 << 30, "37 GiB")),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert human_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (9.9, "9 s"), (60, "1 min"), (7199, "1 h"), (86400 * 3.5, "3 d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert human_age(seconds) == text


def test_a_lock_is_seen_while_somebody_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    with lock.open("w") as held:
        assert not is_locked(lock)
        for kind in (fcntl.LOCK_SH, fcntl.LOCK_EX):
            fcntl.flock(held, kind)
            assert is_locked(lock)
    assert not is_locked(lock)
