"""The wall time in a saved machine's state."""

from __future__ import annotations

import struct

import pytest

from harness.errors import MicrovmError
from harness.vm.vmstate_patch import without_wall_time

HEAD = b"\x04\x00\x00\x00\x01\x05timer" + struct.pack(">II", 0, 2)
TICKS, UNUSED = struct.pack(">q", -7), bytes(8)
WALL = struct.pack(">q", 236_000_000_000)


def test_only_the_wall_time_is_cleared() -> None:
    state = b"QEVM" + HEAD + TICKS + UNUSED + WALL + b"rest"
    assert without_wall_time(state) == b"QEVM" + HEAD + TICKS + UNUSED + bytes(8) + b"rest"


@pytest.mark.parametrize("state", [b"QEVM", 2 * (HEAD + TICKS + UNUSED + WALL)])
def test_a_state_of_another_kind_is_refused(state: bytes) -> None:
    with pytest.raises(MicrovmError, match="clock"):
        without_wall_time(state)
