"""What a frame on the wire is, by its bytes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bare_trials import bare_trial
from hypothesis import given
from hypothesis import strategies as some

from harness.probes import wire
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


@pytest.mark.parametrize("trouble", ["", "it broke"])
def test_a_look_that_sees_nothing_or_breaks_is_a_doubt(
    trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def door(*_: object) -> SimpleNamespace:
        return SimpleNamespace(call=lambda _: Socket(trouble), close=lambda: None)

    monkeypatch.setattr(wire, "NetworkDoor", door)
    monkeypatch.setattr(
        "harness.probes.wire.select.select", lambda *_: ([trouble] if trouble else [], [], [])
    )
    lab: Any = SimpleNamespace(here=SimpleNamespace(keeper=SimpleNamespace(keeper=1)))
    trial = bare_trial(tmp_path / "trial")
    with wire.Wire(lab, trial, marker=b"secret"):
        pass
    trial.finish(None)
    said = " ".join(map(str, trial.doubts))
    assert "saw no frame" in said
    assert trouble in said


class Socket:
    """A packet socket that breaks when it is read."""

    def __init__(self, trouble: str) -> None:
        self._trouble = trouble

    def recvfrom(self, _: int) -> None:
        raise OSError(self._trouble)

    def getsockopt(self, *_: int) -> bytes:
        return bytes(8)

    def close(self) -> None:
        pass
