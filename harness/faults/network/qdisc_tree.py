"""Queues on the fabric's ports: a tree of our own on each, with one leaf for each fault.

::

    root   htb 5c4a:     what no rule has marked passes it by, at once
     `- class 5c4a:N     packets that the rules of the fault in slot N gave this priority
         `- leaf         netem or tbf

A port carries what one place receives: all that others send to it leaves the bridge there. A tree
is only attached where the kernel's own "noqueue" was; a port that carries another qdisc is
refused. A node that boots again has a new cable without a tree: :class:`PortWatch` notices.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from harness.errors import FaultError, HarnessError
from harness.faults.network.fabric import Fabric

HANDLE = "5c4a:"
"""The major number that all of our trees have, and no others."""

#: More than a port ever carries; htb wants a number, and must not be what limits anything.
_UNLIMITED = "40gbit"

_FREE = ("noqueue",)

#: Link events; see rtnetlink(7). An event only says that something changed; what did is looked up.
_RTMGRP_LINK = 1

#: One tree is changed at a time, for faults share it.
_CHANGING = threading.Lock()


@dataclass(frozen=True)
class Leaf:
    """One fault's queue on one port, and what went through it."""

    port: str
    kind: str
    options: dict[str, Any]
    passed: int
    dropped: int
    waiting: int


def priority(slot: int) -> str:
    """Return the priority that leads a packet into the leaf of a slot, as nft writes it."""
    return f"{HANDLE}{slot:x}"


def leaves(fabric: Fabric, slot: int) -> list[Leaf]:
    """Return the queues of a slot, on all ports."""
    return [
        Leaf(
            port=qdisc["dev"],
            kind=qdisc["kind"],
            options=qdisc.get("options", {}),
            passed=int(qdisc.get("packets", 0)),
            dropped=int(qdisc.get("drops", 0)),
            waiting=int(qdisc.get("qlen", 0)),
        )
        for qdisc in fabric.qdiscs()
        if qdisc.get("parent") == priority(slot)
    ]


def foreign(fabric: Fabric, ports: Iterable[str]) -> dict[str, str]:
    """Return the ports that carry a qdisc that is not ours, and which."""
    return {
        port: root["kind"]
        for port, root in _roots(fabric.qdiscs()).items()
        if port in set(ports) and not _ours(root) and root["kind"] not in _FREE
    }


def attach(fabric: Fabric, ports: Iterable[str], slot: int, leaf: str) -> list[str]:
    """Attach a leaf (tc's arguments) to those of the ports that exist and have none.

    Returns these ports. Raises :class:`FaultError` for a port that carries a qdisc not ours.
    """
    with _CHANGING:
        qdiscs = fabric.qdiscs()
        roots = _roots(qdiscs)
        attached = {qdisc["dev"] for qdisc in qdiscs if qdisc.get("parent") == priority(slot)}
        new = [port for port in sorted(set(ports)) if port in roots and port not in attached]
        commands = []
        for port in new:
            if not _ours(roots[port]):
                if roots[port]["kind"] not in _FREE:
                    raise FaultError(
                        f"the port of {port} carries a qdisc {roots[port]['kind']} that is not the "
                        "harness's: it is left alone"
                    )
                commands.append(f"qdisc add dev {port} root handle {HANDLE} htb default 0")
            commands += [
                f"class add dev {port} parent {HANDLE} classid {priority(slot)} "
                f"htb rate {_UNLIMITED} quantum 60000",
                f"qdisc add dev {port} parent {priority(slot)} handle {0x6000 + slot:x}: {leaf}",
            ]
        if commands:
            fabric.tc(commands)
        return new


def detach(fabric: Fabric, slot: int) -> None:
    """Detach a slot's leaves from every port, and the trees that have none left."""
    with _CHANGING:
        qdiscs = fabric.qdiscs()
        used = {qdisc["dev"] for qdisc in qdiscs if _in_tree(qdisc, but=slot)}
        for port, root in _roots(qdiscs).items():
            if not _ours(root):
                continue
            command = (
                f"class del dev {port} classid {priority(slot)}"
                if port in used
                else f"qdisc del dev {port} root"
            )
            if port in used and not _has(qdiscs, port, slot):
                continue
            with contextlib.suppress(FaultError):  # the cable may be going away just now
                fabric.tc([command])


class PortWatch:
    """Calls back whenever a link of the fabric comes, goes or changes, until it is ended.

    An error of the callback is kept for :meth:`end`, which raises it.
    """

    def __init__(self, fabric: Fabric, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._trouble: HarnessError | None = None
        self._wake, self._waker = os.pipe()
        door = fabric.door()
        try:
            self._events = door.call(_link_events)
        finally:
            door.close()
        self._thread = threading.Thread(target=self._watch, name="port-watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the watch; raises what went wrong in it."""
        os.close(self._waker)
        self._thread.join()
        self._events.close()
        os.close(self._wake)
        if self._trouble is not None:
            raise self._trouble

    def _watch(self) -> None:
        while True:
            ready, _, _ = select.select([self._events.fileno(), self._wake], [], [])
            if self._wake in ready:
                return
            with contextlib.suppress(OSError):  # more events than the buffer held: one is enough
                self._events.recv(1 << 16)
            try:
                self._changed()
            except HarnessError as error:
                self._trouble = error


def _link_events() -> socket.socket:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    events.bind((0, _RTMGRP_LINK))
    return events


def _roots(qdiscs: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {qdisc["dev"]: qdisc for qdisc in qdiscs if qdisc.get("root")}


def _ours(root: dict[str, Any]) -> bool:
    return bool(root["kind"] == "htb" and root["handle"] == HANDLE)


def _in_tree(qdisc: dict[str, Any], *, but: int) -> bool:
    parent = str(qdisc.get("parent", ""))
    return parent.startswith(HANDLE) and parent != priority(but)


def _has(qdiscs: Iterable[dict[str, Any]], port: str, slot: int) -> bool:
    return any(q["dev"] == port and q.get("parent") == priority(slot) for q in qdiscs)
