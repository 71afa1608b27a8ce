"""Sockets inside other network namespaces, from one thread that goes from one to the next.

A socket belongs for life to the namespace of the thread that opened it. A sampler opens its
sockets inside and then watches them all from one place, at no process and no thread per node.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

from harness.errors import LabError
from harness.lab.network import enter_network

T = TypeVar("T")


class NetworkNamespace:
    """A network namespace held open: it stays while anybody holds it, and so do its sockets."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LabError(
                f"the network namespace {path} cannot be opened: {error.strerror}"
            ) from error

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread inside for the length of the block.

        Only for threads that a probe has started for itself.
        """
        with Path("/proc/thread-self/ns/net").open("rb") as home:
            _enter(self._descriptor)
            try:
                yield
            finally:
                _enter(home.fileno())

    def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` inside, on a thread of its own, and return its result.

        A socket that it opens belongs there for life.
        """

        def inside() -> T:
            with self.entered():
                return work()

        return from_a_thread(inside)

    def again(self) -> NetworkNamespace:
        """Return the same namespace, held open a second time."""
        return NetworkNamespace(Path(f"/proc/self/fd/{self._descriptor}"))

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def from_a_thread(work: Callable[[], T]) -> T:
    """Run ``work`` on a thread of its own, which may enter namespaces, and return its result."""
    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run, name="probe-inside")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def _enter(descriptor: int) -> None:
    try:
        enter_network(descriptor)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise LabError(f"cannot enter a network namespace: {why}") from error
