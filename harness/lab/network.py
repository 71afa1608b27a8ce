"""The lab's addresses, and a way for this process to open sockets inside a namespace.

The fabric is 198.18.0.0/24, of the range that RFC 2544 sets aside for testing networks: it meets
neither Docker's own address pools nor anybody's real network. Client hosts have the addresses
from .1 on, nodes those from .101 on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from harness.errors import LabError

T = TypeVar("T")

PREFIX = 24
_FABRIC = "198.18.0"
_FIRST_CLIENT_HOST = 1
_FIRST_NODE = 101


def client_host_address(index: int) -> str:
    """Return the address of the client host with this number (0 to 99)."""
    return f"{_FABRIC}.{_FIRST_CLIENT_HOST + index}"


def node_address(index: int) -> str:
    """Return the address of the node with this number (0 to 99)."""
    return f"{_FABRIC}.{_FIRST_NODE + index}"


def mac_of(address: str) -> str:
    """Return a locally administered MAC that follows from the address, the same in every lab."""
    return "02:53:" + ":".join(f"{int(part):02x}" for part in address.split("."))


#: Calls that may be inside one namespace at once; each that has not returned takes a thread.
_CALLS_AT_ONCE = 16


def enter_network(descriptor: int) -> None:
    """Move the calling thread into the network namespace behind an open descriptor.

    Raises :class:`OSError` if the kernel refuses. A socket that the thread opens from now on
    belongs to that namespace.
    """
    # Imported here: it takes most of a second, and few commands enter a namespace themselves.
    from pyroute2.netns import setns

    setns(descriptor)


class NetworkDoor:
    """Threads that live in another network namespace and run what they are given there.

    A socket belongs for life to the namespace of the thread that opened it, so a probe that
    opens its sockets through :meth:`call` is inside, at no cost per request. A call that blocks
    (a server, say) keeps its thread and delays no other: there is one thread until then.
    """

    def __init__(self, pid: int, where: str) -> None:
        self._namespace = Path(f"/proc/{pid}/ns/net")
        self._where = where
        self._threads = ThreadPoolExecutor(
            max_workers=_CALLS_AT_ONCE,
            thread_name_prefix=f"net-{where}",
            initializer=self._enter,
        )
        self._free = threading.BoundedSemaphore(_CALLS_AT_ONCE)

    def _enter(self) -> None:
        descriptor = os.open(self._namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter_network(descriptor)
        finally:
            os.close(descriptor)

    def call(self, work: Callable[[], T]) -> T:
        """Run ``work`` inside and return what it returns; what it raises goes through.

        Raises :class:`LabError` if too many calls have not returned yet.
        """
        if not self._free.acquire(blocking=False):
            raise LabError(
                f"{_CALLS_AT_ONCE} calls in the network of {self._where} have not returned",
                hint="a call that blocks keeps a thread: open the socket in it and return that",
            )
        try:
            return self._threads.submit(work).result()
        except RuntimeError as error:  # the pool is shut, or its thread could not enter
            raise LabError(f"cannot enter the network of {self._where}: {error}") from error
        finally:
            self._free.release()

    def close(self) -> None:
        """End the threads; the sockets they opened stay open."""
