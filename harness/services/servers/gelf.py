"""GELF on the wire, as a sink receives it: chunks, compression, frames, and what a line says.

Sources of the numbers: the GELF specification (two magic bytes, 8 of message id, one of sequence
number, one of sequence count, at most 128 chunks, all of a message within 5 s; over TCP messages
end with a zero byte and are not compressed); a message's first bytes tell gzip from zlib from
plain.

Standard library only: it runs in a child process that must start fast.
"""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass, field

CHUNK_MAGIC = b"\x1e\x0f"
_GZIP_MAGIC = b"\x1f\x8b"
_HEADER = 12
MOST_CHUNKS = 128
CHUNKS_WITHIN = 5.0
"""Seconds from a message's first chunk to its last; later it is given up."""

LARGEST_FRAME = 1 << 20
"""Bytes after which a TCP frame without an end is given up: Docker cuts lines at 16 KiB."""

# Docker's own words for a line: {"short_message":"seq=..."}; a whole JSON parser for each of half
# a thousand messages a second would be the busiest program of an emulated guest.
_LINE = re.compile(rb"seq=(\d+) t=(\d+\.\d+) task=(\S+) ")


class GelfError(ValueError):
    """Bytes that are no GELF."""


@dataclass(frozen=True)
class Line:
    """What a line of the logwriter says: its number, when it was written (monotonic s), by whom."""

    number: int
    written: float
    task: str


def line_in(message: bytes) -> Line | None:
    """Return the logwriter's line in a GELF message (its JSON text); None if there is none."""
    found = _LINE.search(message)
    if found is None:
        return None
    return Line(int(found[1]), float(found[2]), found[3].decode(errors="replace"))


def decompressed(message: bytes) -> bytes:
    """Return the JSON text of a datagram (gzip, zlib or plain); :class:`GelfError` if none."""
    try:
        if message.startswith(_GZIP_MAGIC):
            return gzip.decompress(message)
        # RFC 1950: deflate, and the first two bytes are a multiple of 31
        if len(message) > 1 and message[0] & 0x0F == 8 and (message[0] << 8 | message[1]) % 31 == 0:
            return zlib.decompress(message)
    except (OSError, EOFError, zlib.error) as error:
        raise GelfError(f"a compressed message cannot be read: {error}") from error
    if not message.startswith(b"{"):
        raise GelfError(f"what begins with {message[:4]!r} is not a GELF message")
    return message


@dataclass
class _Parts:
    count: int
    began: float
    parts: dict[int, bytes] = field(default_factory=dict)


class Reassembly:
    """Puts chunked datagrams together, in whatever order they come, once or more often.

    ``incomplete`` counts messages given up because a chunk did not come within 5 s.
    """

    def __init__(self) -> None:
        self._open: dict[bytes, _Parts] = {}
        self.incomplete = 0

    def add(self, datagram: bytes, now: float) -> bytes | None:
        """Take a datagram that came at ``now`` (s); the whole message, or None if more must come.

        :class:`GelfError` for a chunk that makes no sense; it is dropped.
        """
        if not datagram.startswith(CHUNK_MAGIC):
            return datagram
        if len(datagram) < _HEADER:
            raise GelfError(f"a chunk of {len(datagram)} bytes has no complete header")
        name, number, count = datagram[2:10], datagram[10], datagram[11]
        if not 0 < count <= MOST_CHUNKS or number >= count:
            raise GelfError(f"chunk {number} of {count} cannot be")
        self.expire(now)
        message = self._open.setdefault(name, _Parts(count, now))
        if message.count != count:
            raise GelfError(f"a message of {message.count} chunks has one of {count}")
        message.parts.setdefault(number, datagram[_HEADER:])
        if len(message.parts) < count:
            return None
        del self._open[name]
        return b"".join(message.parts[each] for each in range(count))

    def expire(self, now: float) -> None:
        """Give up messages whose first chunk came more than 5 s before ``now``."""
        # Insertion order is the order in which they began.
        while self._open:
            oldest = next(iter(self._open))
            if now - self._open[oldest].began <= CHUNKS_WITHIN:
                return
            del self._open[oldest]
            self.incomplete += 1


class Frames:
    """Cuts a TCP stream into messages, which end with a zero byte."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that ``data`` completes; :class:`GelfError` for an endless one."""
        self._rest += data
        if b"\0" not in data:
            if len(self._rest) > LARGEST_FRAME:
                raise GelfError(f"{len(self._rest)} bytes came without the end of a message")
            return []
        *complete, rest = bytes(self._rest).split(b"\0")
        self._rest = bytearray(rest)
        return [message for message in complete if message]

    @property
    def cut_off(self) -> bool:
        """Whether a message has begun that has not ended."""
        return bool(self._rest)
