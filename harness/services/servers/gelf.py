"""GELF on the wire, as a sink receives it: chunks, compression, frames, and what a line says.

Sources of the numbers: the GELF specification (two magic bytes, 8 of message id, one of sequence
number, one of sequence count, at most 128 chunks, all of a message within 5 s; over TCP messages
end with a zero byte and are not compressed); a message's first bytes tell gzip from zlib from
plain.

Whoever reaches the port decides what comes: every number, length and count below has a limit, and
what is beyond it is a :class:`GelfError`. Standard library only: it runs in a child process that
must start fast.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

CHUNK_MAGIC = b"\x1e\x0f"
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # as zlib's inflateInit2 has it: by the first bytes
_HEADER = 12
MOST_CHUNKS = 128
CHUNKS_WITHIN = 5.0
"""Seconds from a message's first chunk to its last; later it is given up."""

LARGEST_FRAME = 1 << 20
"""Bytes after which a TCP frame without an end is given up: Docker cuts lines at 16 KiB."""

LARGEST_MESSAGE = 1 << 20
"""Bytes after which a compressed message is given up: 1 MB of gzip can be 1 GiB of zeros."""

MOST_OPEN = 16 << 20
"""Bytes of chunks that wait for others; the oldest messages are given up for more. The largest
whole message, 128 datagrams of 64 KiB, is half of that."""

MOST_LINES = 10_000_000
"""Lines are numbered below it: 5 h of 500 a second, and 1.25 MB of a task's account."""

# Docker's own words for a line: {"short_message":"seq=..."}; a whole JSON parser for each of half
# a thousand messages a second would be the busiest program of an emulated guest.
_LINE = re.compile(rb"seq=(\d+) t=(\d{1,15}\.\d{1,12}) task=([\w.@/-]{1,256}) ")


class GelfError(ValueError):
    """Bytes that are no GELF."""


@dataclass(frozen=True)
class Line:
    """What a line of the logwriter says: its number, when it was written (monotonic s), by whom."""

    number: int
    written: float
    task: str


def line_in(message: bytes) -> Line | None:
    """Return the logwriter's line in a GELF message (its JSON text); None if there is none.

    :class:`GelfError` for a number that no logwriter gets to.
    """
    found = _LINE.search(message)
    if found is None:
        return None
    digits = found[1]
    if len(digits) > 12 or (number := int(digits)) >= MOST_LINES:
        raise GelfError(f"a line numbered {MOST_LINES} or more")
    return Line(number, float(found[2]), found[3].decode())


def decompressed(message: bytes) -> bytes:
    """Return the JSON text of a datagram (gzip, zlib or plain); :class:`GelfError` if none."""
    # RFC 1950: deflate, and the first two bytes are a multiple of 31
    zlibs = len(message) > 1 and message[0] & 0xF == 8 and (message[0] << 8 | message[1]) % 31 == 0
    if zlibs or message.startswith(_GZIP_MAGIC):
        unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            text = unpacking.decompress(message, LARGEST_MESSAGE)
        except zlib.error as error:
            raise GelfError(f"a compressed message cannot be read: {error}") from error
        if not unpacking.eof:
            long = len(text) >= LARGEST_MESSAGE
            raise GelfError(
                f"a compressed message is {'too long' if long else 'cut off, so it cannot be read'}"
            )
        return text
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

    ``incomplete`` counts messages given up because a chunk did not come within 5 s, or because
    more than :data:`MOST_OPEN` bytes waited.
    """

    def __init__(self) -> None:
        self._open: dict[bytes, _Parts] = {}
        self._held = 0
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
        if number not in message.parts:
            message.parts[number] = datagram[_HEADER:]
            self._held += len(datagram)
        if len(message.parts) < count:
            while self._held > MOST_OPEN:
                self._give_up(next(iter(self._open)))
            return None
        self._close(name)
        return b"".join(message.parts[each] for each in range(count))

    def expire(self, now: float) -> None:
        """Give up messages whose first chunk came more than 5 s before ``now``."""
        # Insertion order is the order in which they began.
        while self._open:
            oldest = next(iter(self._open))
            if now - self._open[oldest].began <= CHUNKS_WITHIN:
                return
            self._give_up(oldest)

    def _give_up(self, name: bytes) -> None:
        self._close(name)
        self.incomplete += 1

    def _close(self, name: bytes) -> None:
        parts = self._open.pop(name).parts
        self._held -= sum(_HEADER + len(part) for part in parts.values())


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
