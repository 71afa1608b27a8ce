"""GELF as it comes over the wire: chunks in any order, lost and doubled; compression; frames."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optionals import not_none

from harness.services.servers.gelf import (
    CHUNK_MAGIC,
    CHUNKS_WITHIN,
    LARGEST_FRAME,
    Frames,
    GelfError,
    Line,
    Reassembly,
    decompressed,
    line_in,
)


def chunks(message: bytes, size: int, name: bytes = b"12345678") -> list[bytes]:
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return [
        CHUNK_MAGIC + name + struct.pack("BB", number, len(parts)) + part
        for number, part in enumerate(parts)
    ]


def text(number: int = 7, task: str = "app.1.x") -> bytes:
    line = f"seq={number} t=12.500000 task={task} xxxx"
    return json.dumps({"version": "1.1", "host": "h", "short_message": line}).encode()


messages = st.binary(min_size=2, max_size=600).filter(lambda data: not data.startswith(CHUNK_MAGIC))


@given(st.lists(messages, min_size=1, max_size=4), st.integers(5, 300), st.randoms())
def test_chunks_of_several_messages_come_in_any_order(
    whole: Sequence[bytes], size: int, rng: Any
) -> None:
    pieces = [
        piece
        for number, message in enumerate(whole)
        for piece in chunks(message, size, name=struct.pack(">Q", number))
    ]
    rng.shuffle(pieces)
    taken = Reassembly()
    got = [made for piece in pieces if (made := taken.add(piece, now=0.0)) is not None]
    assert sorted(got) == sorted(whole)
    assert taken.incomplete == 0


@given(messages, st.integers(5, 300), st.randoms())
def test_a_chunk_that_comes_twice_changes_nothing(message: bytes, size: int, rng: Any) -> None:
    pieces = chunks(message, size)
    pieces.insert(rng.randrange(len(pieces)), rng.choice(pieces[:-1] or pieces))
    taken = Reassembly()
    got = [made for piece in pieces if (made := taken.add(piece, now=0.0)) is not None]
    assert got[0] == message


@given(st.binary(min_size=20, max_size=600), st.integers(1, 10), st.randoms())
def test_a_message_that_misses_a_chunk_is_given_up_after_five_seconds(
    message: bytes, size: int, rng: Any
) -> None:
    pieces = chunks(message, max(size, len(message) // 100 + 1))
    pieces.pop(rng.randrange(len(pieces)))
    taken = Reassembly()
    assert [taken.add(piece, now=1.0) for piece in pieces] == [None] * len(pieces)
    taken.expire(1.0 + CHUNKS_WITHIN)
    assert taken.incomplete == 0
    taken.expire(1.01 + CHUNKS_WITHIN)
    assert taken.incomplete == 1


def test_what_is_no_chunk_is_a_message_of_its_own() -> None:
    assert Reassembly().add(b"{}", now=0.0) == b"{}"


@pytest.mark.parametrize(
    "datagram",
    [
        CHUNK_MAGIC + b"1234567",  # no whole header
        CHUNK_MAGIC + b"12345678" + bytes([0, 0]),  # none of none
        CHUNK_MAGIC + b"12345678" + bytes([2, 2]) + b"x",  # the third of two
        CHUNK_MAGIC + b"12345678" + bytes([0, 129]) + b"x",  # more than 128
    ],
)
def test_a_chunk_that_makes_no_sense_is_refused(datagram: bytes) -> None:
    with pytest.raises(GelfError):
        Reassembly().add(datagram, now=0.0)


def test_chunks_that_disagree_on_their_number_are_refused() -> None:
    taken = Reassembly()
    taken.add(CHUNK_MAGIC + b"12345678" + bytes([0, 2]) + b"x", now=0.0)
    with pytest.raises(GelfError, match="2 chunks has one of 3"):
        taken.add(CHUNK_MAGIC + b"12345678" + bytes([1, 3]) + b"x", now=0.0)


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda data, _: data], ids=["gzip", "zlib", "plain"]
)
def test_compression_is_told_by_the_first_bytes(pack: Callable[..., Any], level: int) -> None:
    assert decompressed(pack(text(), level)) == text()


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", gzip.compress(text(), mtime=0)[:-9], zlib.compress(b"x")[:-1]],
    ids=["nothing", "words", "half a gzip", "half a zlib"],
)
def test_what_cannot_be_read_is_an_error(data: bytes) -> None:
    with pytest.raises(GelfError):
        decompressed(data)


@given(
    st.lists(st.binary(min_size=1, max_size=50).map(lambda b: b.replace(b"\0", b"1"))), st.data()
)
def test_frames_come_out_however_the_stream_is_cut(
    frames: Sequence[bytes], data: st.DataObject
) -> None:
    stream = b"".join(frame + b"\0" for frame in frames) + b"rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    taken = Frames()
    assert [message for piece in pieces for message in taken.feed(piece)] == frames
    assert taken.cut_off


def test_a_frame_without_end_is_refused() -> None:
    taken = Frames()
    assert taken.feed(bytes([1]) * LARGEST_FRAME) == []
    with pytest.raises(GelfError, match="without the end"):
        taken.feed(b"x")


def test_a_line_of_the_logwriter_is_found_and_others_are_not() -> None:
    assert line_in(text(41, "web.2.abc")) == Line(41, 12.5, "web.2.abc")
    assert line_in(b'{"short_message":"something else"}') is None


@given(st.binary(max_size=200))
def test_no_bytes_whatever_are_more_than_an_error(data: bytes) -> None:
    taken = Reassembly()
    try:
        message = taken.add(data, now=0.0)
        if message is not None:
            line_in(decompressed(message))
    except GelfError:
        pass


def test_a_whole_way_gzip_in_chunks_shuffled() -> None:
    pieces = chunks(gzip.compress(text(5)), 20)
    random.Random(3).shuffle(pieces)
    taken = Reassembly()
    [message] = [made for piece in pieces if (made := taken.add(piece, now=0.0)) is not None]
    assert not_none(line_in(decompressed(message))).number == 5
