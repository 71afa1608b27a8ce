"""A run as one file, and back; archives that mean harm or are torn."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st
from stored_runs import store_run

from harness.errors import UsageError
from harness.results import Run, read_run
from harness.results.archive import export_run, import_run
from harness.results.files import fingerprint


def archive_of(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """A tar.gz of (name, contents or TarInfo's type)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, what in members:
            member = tarfile.TarInfo(name)
            if isinstance(what, bytes) and len(what) != 1:
                member.size = len(what)
                tar.addfile(member, io.BytesIO(what))
            else:
                member.type, member.linkname = what, "/etc/passwd"
                tar.addfile(member)
    return path


def test_a_run_goes_out_and_comes_back_as_it_was(tmp_path: Path) -> None:
    run = store_run(tmp_path / "a", [1.0, 2.0])
    archive = export_run(run.folder, tmp_path / "run.tar.gz")
    imported = import_run(archive, tmp_path / "b")
    assert imported.damage == ""
    assert imported.folder == tmp_path / "b" / run.record.id
    assert fingerprint(imported.folder) == fingerprint(run.folder)
    assert [t.record for t in read_run(imported.folder).trials] == [t.record for t in run.trials]


def test_the_same_run_makes_the_same_bytes(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0])
    first = export_run(run.folder, tmp_path / "1.tar.gz").read_bytes()
    imported = import_run(tmp_path / "1.tar.gz", tmp_path / "b").folder
    assert export_run(imported, tmp_path / "2.tar.gz").read_bytes() == first


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0])
    archive = export_run(run.folder, tmp_path / "run.tar.gz")
    assert import_run(archive, tmp_path).folder.name == f"{run.record.id}-2"
    with pytest.raises(UsageError, match="exists already"):
        export_run(run.folder, archive)


@pytest.mark.parametrize(
    "foul",
    [
        ("../out", b"xx"),
        ("/out", b"xx"),
        ("run/../../out", b"xx"),
        ("run/a\\..\\out", b"xx"),
        ("run/link", tarfile.SYMTYPE),
        ("run/link", tarfile.LNKTYPE),
        ("run/device", tarfile.CHRTYPE),
        ("run/pipe", tarfile.FIFOTYPE),
        ("second/run.json", b"{}"),
    ],
)
def test_an_archive_that_reaches_out_is_refused_whole(
    tmp_path: Path, foul: tuple[str, bytes]
) -> None:
    archive = archive_of(tmp_path / "x.tar.gz", [("run/run.json", b'{"schema": 1}'), foul])
    root = tmp_path / "store"
    with pytest.raises(UsageError):
        import_run(archive, root)
    assert list(root.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_an_archive_of_more_than_any_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.results.archive.MOST_BYTES", 1000)
    archive = archive_of(tmp_path / "x.tar.gz", [("run/run.json", b"{}"), ("run/big", b"0" * 2000)])
    with pytest.raises(UsageError, match="larger than any run"):
        import_run(archive, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    "junk", [b"", b"no archive at all", gzip.compress(b"no tar", mtime=0), b"\x1f\x8b"]
)
def test_what_is_no_archive_is_told(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(junk)
    with pytest.raises(UsageError, match="does not contain a run"):
        import_run(path, tmp_path / "store")
    with pytest.raises(UsageError, match="there is no archive"):
        import_run(tmp_path / "none.tar.gz", tmp_path / "store")


def test_an_archive_of_something_else_is_told(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "x.tar.gz", [("holiday/picture", b"xx")])
    with pytest.raises(UsageError, match="does not contain a run"):
        import_run(archive, tmp_path / "store")


@pytest.mark.parametrize("name", ["latest", ".git", "two\nlines", "\x1b[31mred", ".", " ", "-x"])
def test_a_folder_that_is_not_named_as_a_run_is_refused(tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path / "x.tar.gz", [(f"{name}/run.json", b"{}")])
    with pytest.raises(UsageError):
        import_run(archive, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return store_run(tmp_path_factory.mktemp("whole"), [1.0, 2.0, 3.0])


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export_run(run.folder, tmp_path_factory.mktemp("packed") / "run.tar.gz").read_bytes()


@settings(max_examples=25)
@given_(cut=st.integers(0, 100))
def test_a_torn_archive_is_read_as_far_as_it_goes(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    archive = folder / "x.tar.gz"
    archive.write_bytes(whole[: len(whole) * cut // 100])
    try:
        imported = import_run(archive, folder / "store")
    except UsageError as refused:
        assert "does not contain a run" in str(refused)  # noqa: PT017 - either way is right
        return
    run = read_run(imported.folder)
    assert cut == 100 or imported.damage
    assert not list(imported.folder.rglob("*.part"))
    # What is there is whole: each trial has its record, or is told to be without.
    assert len(run.trials) + len(run.damaged) <= 3 + 1


@settings(max_examples=25)
@given_(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_never_ends_in_a_traceback(
    run: Run, whole: bytes, tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    raw = bytearray(whole)
    raw[at % len(raw)] ^= 1 << bit
    (folder / "x.tar.gz").write_bytes(raw)
    try:
        imported = import_run(folder / "x.tar.gz", folder / "store")
        read_run(imported.folder)
        # A few bits carry nothing: the time of packing, the padding after the last block.
        assert imported.damage or fingerprint(imported.folder) == fingerprint(run.folder)
    except UsageError as refused:
        assert str(refused)  # noqa: PT017 - a sentence, as good as a run
