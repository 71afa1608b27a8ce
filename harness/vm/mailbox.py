"""The mailboxes between host and guest: what goes in before a thaw, what comes out after it.

A mailbox is a pmem device on the guest's side and a plain file on the host's. Its first 4096 bytes
are a header (magic, length of the body, sha256 of the body), then the body, a tar. The body is
written first and the header last, so a half-written mailbox never reads as a complete one.

The guest goes past its page cache (``O_DIRECT``): what it cached of the inbox before the freeze
is not what lies there after the thaw. This module is the guest's and the host's alike and
needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
import struct
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MicrovmError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAGIC = b"swch-box"
HEADER_SIZE = 4096
_HEADER = struct.Struct("<8sQ32s")
_CHUNK = 4 << 20


def header(body_length: int, body_sha256: bytes) -> bytes:
    """Return the 4096 bytes that come before a body."""
    return _HEADER.pack(MAGIC, body_length, body_sha256).ljust(HEADER_SIZE, b"\0")


def parse_header(raw: bytes) -> tuple[int, bytes] | None:
    """Length and sha256 of the body, or None if nothing was written here.

    Raises :class:`~harness.errors.MicrovmError` if ``raw`` is shorter than a header's fields.
    """
    if len(raw) < _HEADER.size:
        raise MicrovmError(f"a mailbox of {len(raw)} bytes is too short to hold a header")
    magic, length, digest = _HEADER.unpack_from(raw)
    return (length, digest) if magic == MAGIC else None


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of ``files`` (name to content) with nothing in it but names and contents.

    The same files give a byte-identical tar: sorted, no owner, no time.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return buffer.getvalue()


def contents(body: bytes) -> dict[str, bytes]:
    """Return what a mailbox's tar holds, by name. What is not a plain file inside is refused.

    Raises :class:`~harness.errors.MicrovmError` for what is not a sound tar.
    """
    try:
        return dict(_members(body))
    except (tarfile.TarError, OSError) as error:
        raise MicrovmError(f"the contents of a mailbox cannot be read: {error}") from error


def unpack(body: bytes, into: Path) -> None:
    """Unpack a mailbox's tar into the folder ``into``, which is made.

    What is not a plain file inside is refused. (``extractall``'s own filter came with Python
    3.11.4, and Debian 12 has 3.11.2; and it takes four times as long, which a guest feels.)
    Raises :class:`~harness.errors.MicrovmError` for what is not a sound tar.
    """
    into.mkdir(parents=True, exist_ok=True)
    made: set[str] = set()
    try:
        for name, content in _members(body):
            folder = name.rpartition("/")[0]
            if folder not in made:
                (into / folder).mkdir(parents=True, exist_ok=True)
                made.add(folder)
            (into / name).write_bytes(content)
    except (tarfile.TarError, OSError) as error:
        raise MicrovmError(f"a mailbox does not unpack into {into}: {error}") from error


def _members(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a tar, straight from its bytes."""
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        for member in tar:
            _check(member)
            if member.isfile():
                content = body[member.offset_data : member.offset_data + member.size]
                if len(content) != member.size:
                    raise tarfile.ReadError(f"{member.name} is cut off")
                yield member.name, content


def _check(member: tarfile.TarInfo) -> None:
    outside = member.name.startswith("/") or ".." in member.name.split("/")
    if outside or not (member.isdir() or member.isfile()):
        raise tarfile.ExtractError(f"{member.name} is not a plain file inside")


def write_file(path: Path, body: bytes, size: int) -> None:
    """Write a mailbox into the file ``path``, made ``size`` bytes long (sparse)."""
    if HEADER_SIZE + len(body) > size:
        raise MicrovmError(
            f"the payload has {len(body)} bytes and the inbox holds {size - HEADER_SIZE}",
            hint="send less, or freeze with a larger inbox",
        )
    with path.open("wb") as out:
        out.truncate(size)
        out.seek(HEADER_SIZE)
        out.write(body)
        out.seek(0)
        out.write(header(len(body), hashlib.sha256(body).digest()))


def read_file(path: Path) -> bytes | None:
    """Return the body of the mailbox in the file ``path``; None if nothing was ever written to it.

    Raises :class:`~harness.errors.MicrovmError` if the body is not what its header says.
    """
    with path.open("rb") as file:
        found = parse_header(file.read(HEADER_SIZE))
        if found is None:
            return None
        length, digest = found
        body = file.read(length)
    _verify(body, length, digest, str(path))
    return body


def read_device(device: str) -> bytes | None:
    """As :func:`read_file`, from a block device and past the page cache."""
    with _direct(device, os.O_RDONLY) as (fd, buffer):
        _read_into(fd, buffer, HEADER_SIZE, 0)
        found = parse_header(buffer[:HEADER_SIZE])
        if found is None:
            return None
        length, digest = found
        body = bytearray()
        while len(body) < length:
            want = min(_CHUNK, _padded(length - len(body)))
            _read_into(fd, buffer, want, HEADER_SIZE + len(body))
            body += buffer[:want]
    complete = bytes(body[:length])
    _verify(complete, length, digest, device)
    return complete


def read_device_digest(device: str) -> bytes:
    """Return the sha256 that a block device's header gives of its body; empty without one."""
    with _direct(device, os.O_RDONLY) as (fd, buffer):
        _read_into(fd, buffer, HEADER_SIZE, 0)
        found = parse_header(buffer[:HEADER_SIZE])
    return b"" if found is None else found[1]


class DeviceWriter(io.RawIOBase):
    """Writes a mailbox's body to a block device of ``size`` bytes, past the page cache.

    A file to stream into (a result need never all lie in memory); :meth:`seal` writes the
    header, without which nothing was sent. A context manager.
    """

    def __init__(self, device: str, size: int) -> None:
        self._size = size
        self._fd = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        self._buffer = mmap.mmap(-1, _CHUNK)
        self._filled = 0
        self._flushed = 0
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        """It is made for writing."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Take ``data``; :class:`~harness.errors.MicrovmError` when the mailbox is full."""
        view = memoryview(data).cast("B")
        if HEADER_SIZE + self._flushed + self._filled + len(view) > self._size:
            raise MicrovmError(
                f"what the trial left does not fit the outbox of {self._size} bytes",
                hint="leave less behind, or freeze with a larger outbox",
            )
        self._digest.update(view)
        position = 0
        while position < len(view):
            part = view[position : position + _CHUNK - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = bytes(part)
            self._filled += len(part)
            position += len(part)
            if self._filled == _CHUNK:
                self._flush()
        return len(view)

    def seal(self) -> None:
        """Write what is still held back, and then the header."""
        length = self._flushed + self._filled
        if self._filled:
            self._flush()
        self._buffer[:HEADER_SIZE] = header(length, self._digest.digest())
        _write_from(self._fd, self._buffer, HEADER_SIZE, 0)
        os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the device. Without :meth:`seal` nothing was left."""
        if not self.closed:
            os.close(self._fd)
            self._buffer.close()
        super().close()

    def _flush(self) -> None:
        padded = _padded(self._filled)
        self._buffer[self._filled : padded] = bytes(padded - self._filled)
        _write_from(self._fd, self._buffer, padded, HEADER_SIZE + self._flushed)
        self._flushed += self._filled
        self._filled = 0


def write_device(device: str, size: int, files: Mapping[str, bytes | Path]) -> None:
    """Write a mailbox with a tar of ``files`` (name to content, or to the file that has it).

    Raises :class:`~harness.errors.MicrovmError` when they do not fit; then nothing is sent.
    """
    with DeviceWriter(device, size) as out:
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(files):
                content = files[name]
                member = tarfile.TarInfo(name)
                if isinstance(content, bytes):
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                else:
                    with content.open("rb") as source:
                        member.size = os.fstat(source.fileno()).st_size
                        tar.addfile(member, source)
        out.seal()


def _verify(body: bytes, length: int, digest: bytes, where: str) -> None:
    if len(body) != length or hashlib.sha256(body).digest() != digest:
        raise MicrovmError(f"the mailbox in {where} does not hold what its header says")


def _padded(length: int) -> int:
    return -(-length // HEADER_SIZE) * HEADER_SIZE


@contextlib.contextmanager
def _direct(device: str, flags: int) -> Iterator[tuple[int, mmap.mmap]]:
    """Yield an ``O_DIRECT`` descriptor and a page-aligned buffer to go with it."""
    fd = os.open(device, flags | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, _CHUNK) as buffer:
            yield fd, buffer
    finally:
        os.close(fd)


def _read_into(fd: int, buffer: mmap.mmap, count: int, offset: int) -> None:
    with memoryview(buffer) as view, view[:count] as window:
        if os.preadv(fd, [window], offset) != count:
            raise MicrovmError(f"a mailbox ends before byte {offset + count}")


def _write_from(fd: int, buffer: mmap.mmap, count: int, offset: int) -> None:
    with memoryview(buffer) as view, view[:count] as window:
        if os.pwritev(fd, [window], offset) != count:
            raise MicrovmError(f"a mailbox could not be written up to byte {offset + count}")
