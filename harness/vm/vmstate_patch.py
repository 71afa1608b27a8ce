"""The one thing in a saved machine's device state that is the host's: how long QEMU has run.

A thaw may have to change it, and it tells two machines apart that are the same.

QEMU keeps, besides the guest's clock, for how long it has run on the wall (``cpu_clock_offset`` of
its section ``timer``). With ``-icount sleep=on`` the first idle moment is counted from 0 on that
clock, so a machine thawed from another QEMU's state would leap by all the wall time that its
freeze took (seen with QEMU 7.2: 236 s). Setting it to 0 leaves nothing to leap. QEMU 10.0
keeps it at the same place (645 s after a freeze of 690 s) and is served the same way.
"""

from __future__ import annotations

import struct

from harness.errors import MicrovmError

# Section header of QEMU's migration stream: idstr with its length, instance 0, version 2; then
# cpu_ticks_offset and 8 unused bytes (vmstate_timers in QEMU's cpu-timers.c).
_TIMERS = b"\x05timer" + struct.pack(">II", 0, 2)
_BEFORE_OFFSET = 16


def without_wall_time(state: bytes) -> bytes:
    """Return ``state`` as if its machine had run for no wall time yet.

    Raises :class:`MicrovmError` where the section is not found exactly once.
    """
    if state.count(_TIMERS) != 1:
        raise MicrovmError(
            "this QEMU's state does not hold its clock as expected: idle time cannot be made to "
            "pass in real time",
            hint="leave out --real-time",
        )
    at = state.index(_TIMERS) + len(_TIMERS) + _BEFORE_OFFSET
    return state[:at] + bytes(8) + state[at + 8 :]


def without_host_times(state: bytes) -> bytes:
    """Return ``state`` without the two times of the host in it (virtual clock only).

    ``cpu_ticks_offset`` and ``cpu_clock_offset``: with ``sleep=off`` the guest never sees them, and
    of two frozen machines with one history they are all that differs. Raises
    :class:`MicrovmError` where the section is not found exactly once.
    """
    if state.count(_TIMERS) != 1:
        raise MicrovmError("this QEMU's state does not hold its clock as expected")
    at = state.index(_TIMERS) + len(_TIMERS)
    return state[:at] + bytes(_BEFORE_OFFSET + 8) + state[at + _BEFORE_OFFSET + 8 :]
