from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MicrovmError
from harness.vm import mailbox

NAMES = st.text("abcdef/._-", min_size=1, max_size=20).filter(
    lambda name: (
        not name.startswith("/")
        and not name.endswith("/")
        and "//" not in name
        and all(part not in (".", "..") for part in name.split("/"))
    )
)


@given(st.binary(max_size=20000))
def test_what_goes_into_a_box_comes_out(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    path = tmp_path_factory.mktemp("box") / "box"
    mailbox.write_file(path, body, 1 << 20)
    assert mailbox.read_file(path) == body
    assert path.stat().st_size == 1 << 20


def test_a_box_never_written_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "box"
    path.write_bytes(bytes(1 << 16))
    assert mailbox.read_file(path) is None


@given(st.binary(min_size=1, max_size=500), st.data())
def test_a_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("box") / "box"
    mailbox.write_file(path, body, 1 << 16)
    raw = bytearray(path.read_bytes())
    at = mailbox.HEADER_SIZE + data.draw(st.integers(0, len(body) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    with pytest.raises(MicrovmError, match="does not hold"):
        mailbox.read_file(path)


def test_a_box_cut_short_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "box"
    mailbox.write_file(path, b"x" * 10000, 1 << 16)
    with path.open("r+b") as file:
        file.truncate(mailbox.HEADER_SIZE + 9999)
    with pytest.raises(MicrovmError, match="does not hold"):
        mailbox.read_file(path)
    with path.open("r+b") as file:
        file.truncate(10)
    with pytest.raises(MicrovmError, match="too short"):
        mailbox.read_file(path)


def test_too_much_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "box"
    with pytest.raises(MicrovmError, match="holds 61440"):
        mailbox.write_file(path, bytes(61441), 1 << 16)
    assert not path.exists()
    mailbox.write_file(path, bytes(61440), 1 << 16)


@given(st.dictionaries(NAMES, st.binary(max_size=100), max_size=5))
def test_pack_depends_on_names_and_contents_only(files: Mapping[str, bytes]) -> None:
    turned = dict(reversed(list(files.items())))
    assert mailbox.pack(files) == mailbox.pack(turned)


@pytest.mark.parametrize("name", ["../outside", "/etc/outside"])
def test_unpack_stays_inside(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with contextlib.suppress(MicrovmError):
        mailbox.unpack(buffer.getvalue(), tmp_path / "in")
    assert not (tmp_path / "outside").exists()


def test_unpack_of_nonsense_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MicrovmError, match="does not unpack"):
        mailbox.unpack(b"no tar at all", tmp_path)


def test_contents_are_what_was_packed() -> None:
    files = {"a.json": b"{}", "folder/b.bin": bytes(range(256)), "empty": b""}
    assert mailbox.contents(mailbox.pack(files)) == files


@pytest.mark.parametrize("cut", [1, 300, 600])
def test_contents_of_what_is_cut_off_are_a_sentence(cut: int) -> None:
    body = mailbox.pack({"a": bytes(700)})
    with pytest.raises(MicrovmError, match="cannot be read"):
        mailbox.contents(body[:cut])


@pytest.mark.parametrize("sizes", [[0], [1], [4096], [5 << 20], [3, 4096, (4 << 20) - 1, 2, 0]])
def test_device_writer_and_reader_agree_past_the_page_cache(
    tmp_path: Path, sizes: Sequence[int]
) -> None:
    path = tmp_path / "device"
    path.write_bytes(bytes(16 << 20))
    parts = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    try:
        out = mailbox.DeviceWriter(str(path), 16 << 20)
    except OSError:
        pytest.skip("no O_DIRECT on this file system")
    with out:
        for part in parts:
            out.write(part)
        assert mailbox.read_file(path) is None, "a box without its header is no box"
        out.seal()
    assert mailbox.read_device(str(path)) == b"".join(parts)
    assert mailbox.read_file(path) == b"".join(parts)


def test_device_writer_refuses_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.write_bytes(bytes(1 << 16))
    try:
        out = mailbox.DeviceWriter(str(path), 1 << 16)
    except OSError:
        pytest.skip("no O_DIRECT on this file system")
    with out, pytest.raises(MicrovmError, match="does not fit"):
        out.write(bytes(1 << 16))
    assert mailbox.read_file(path) is None


def test_header_is_one_block_with_length_and_digest() -> None:
    digest = hashlib.sha256(b"abc").digest()
    raw = mailbox.header(3, digest)
    assert len(raw) == mailbox.HEADER_SIZE
    assert mailbox.parse_header(raw) == (3, digest)
