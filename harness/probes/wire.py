"""A look on the wire: what passes between nodes, and whether it can be read there.

A packet socket in the fabric's namespace sees every frame once, where it enters the fabric. What an
overlay network carries is VXLAN (RFC 7348), and ESP (RFC 4303) around it if it is encrypted: that
somebody in the middle cannot read it is a statement about frames, and not about a flag in an API.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from harness.errors import UsageError
from harness.lab import Lab
from harness.lab.network import NetworkDoor
from harness.trial import Trial

Kind = Literal["vxlan", "esp", "other"]

_ETH_P_ALL, _ETH_P_IP = 0x0003, 0x0800
_ESP, _UDP, _VXLAN_PORT = 50, 17, 4789
_SOL_PACKET, _PACKET_STATISTICS, _OUTGOING = 263, 6, 4

#: Bytes that wait for the thread; a few seconds of what nodes send at rest.
_BUFFER = 8 << 20


@dataclass(frozen=True)
class Frame:
    """What is looked at: the kind, the addresses of the two nodes, the network's VXLAN id."""

    kind: Kind
    source: str
    target: str
    vxlan_id: int | None = None


class Wire:
    """Watches the fabric for frames between nodes while the ``with`` block lasts.

    ::

        with Wire(swarm.lab, trial, marker=b"a-secret") as wire:
            ...
        measure(READABLE, wire.readable)

    ``marker`` is what is searched for in each frame: bytes that are sent through the overlay. A
    look that sees no frame at all, misses some or ends early is a doubt about the trial.
    """

    def __init__(self, lab: Lab, trial: Trial, *, marker: bytes) -> None:
        if not marker:
            raise UsageError("a look on the wire needs a marker: bytes to search for")
        self._door = NetworkDoor(lab.here.keeper.keeper, "fabric")
        self._trial = trial
        self._marker = marker
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self.frames: dict[Frame, int] = {}
        self.readable = 0
        """Frames in which the marker was found."""

    def count(self, kind: Kind) -> int:
        """Return how many frames of a kind there were."""
        return sum(number for frame, number in self.frames.items() if frame.kind == kind)

    def __enter__(self) -> Self:
        self._socket = self._door.call(_packet_socket)
        self._thread = threading.Thread(target=self._guarded, name="wire", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._socket is not None
        assert self._thread is not None
        self._stop.set()
        self._thread.join(timeout=10.0)
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._socket.close()
        self._door.close()
        if dropped := struct.unpack("II", statistics)[1]:
            self._trial.doubt(f"the look on the wire missed {dropped} frames")
        if not self.frames:
            self._trial.doubt("the look on the wire saw no frame")
        self._trial.write_samples(
            "wire",
            (
                {
                    "kind": frame.kind,
                    "source": frame.source,
                    "target": frame.target,
                    "vxlan_id": frame.vxlan_id,
                    "frames": number,
                }
                for frame, number in sorted(self.frames.items(), key=str)
            ),
        )

    def _guarded(self) -> None:
        try:
            self._watch()
        except Exception as error:
            self._trial.doubt(f"the look on the wire ended early: {error}")

    def _watch(self) -> None:
        assert self._socket is not None
        while True:
            if not select.select([self._socket], [], [], 0.1)[0]:
                if self._stop.is_set():  # what was sent before is read
                    return
                continue
            data, (_, _, direction, _, _) = self._socket.recvfrom(1 << 16)
            frame = frame_in(data) if direction != _OUTGOING else None
            if frame is not None:
                self.frames[frame] = self.frames.get(frame, 0) + 1
                self.readable += self._marker in data


def frame_in(data: bytes) -> Frame | None:
    """Return what an Ethernet frame is; None if it is not whole, or not IPv4."""
    if len(data) < 34 or int.from_bytes(data[12:14]) != _ETH_P_IP:
        return None
    source, target = socket.inet_ntoa(data[26:30]), socket.inet_ntoa(data[30:34])
    protocol, ip = data[23], 14 + (data[14] & 0x0F) * 4
    if protocol == _ESP:
        return Frame("esp", source, target)
    is_vxlan = protocol == _UDP and int.from_bytes(data[ip + 2 : ip + 4]) == _VXLAN_PORT
    if is_vxlan and len(data) >= ip + 16:
        return Frame("vxlan", source, target, int.from_bytes(data[ip + 12 : ip + 15]))
    return Frame("other", source, target)


def _packet_socket() -> socket.socket:
    made = socket.socket(
        socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ETH_P_ALL)
    )
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    return made
