"""What a frame on the wire is, by its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from harness.probes.wire import Frame, frame_in

ETHERNET = bytes(12) + b"\x08\x00"
BETWEEN = bytes([198, 18, 0, 101]) + bytes([198, 18, 0, 102])


def ip(protocol: int, payload: bytes, *, options: bytes = b"") -> bytes:
    head = bytes([0x45 + len(options) // 4, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0])
    return ETHERNET + head + BETWEEN + options + payload


def udp(port: int, payload: bytes) -> bytes:
    return (40000).to_bytes(2) + port.to_bytes(2) + bytes(4) + payload


VXLAN = bytes([8, 0, 0, 0]) + (4097).to_bytes(3) + b"\x00"


@pytest.mark.parametrize("options", [b"", bytes(8)])
def test_an_overlay_network_is_known_by_its_id(options: bytes) -> None:
    found = frame_in(ip(17, udp(4789, VXLAN + b"inner"), options=options))
    assert found == Frame("vxlan", "198.18.0.101", "198.18.0.102", 4097)


def test_what_is_encrypted_is_esp_whatever_is_inside() -> None:
    found = frame_in(ip(50, udp(4789, VXLAN)))
    assert found == Frame("esp", "198.18.0.101", "198.18.0.102")


@pytest.mark.parametrize("data", [ip(17, udp(7946, b"gossip")), ip(6, bytes(20))])
def test_the_rest_is_something_else(data: bytes) -> None:
    assert frame_in(data) == Frame("other", "198.18.0.101", "198.18.0.102")


@pytest.mark.parametrize("data", [b"", bytes(14), bytes(60)])
def test_what_is_no_ipv4_is_nothing(data: bytes) -> None:
    assert frame_in(data) is None


@given(some.binary(max_size=80), some.booleans())
def test_no_bytes_are_too_strange(data: bytes, ethernet: bool) -> None:
    frame_in(ETHERNET + data if ethernet else data)
