"""Clients that ask all the time from a thread of their own, while a ``with`` block lasts."""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Self

from harness.errors import LoadError
from harness.trial import Trial

_ENDS_WITHIN = 30.0  # seconds

Opener = Callable[[Callable[[], socket.socket]], socket.socket]
"""Runs what makes a socket where it is to be: ``lab.client_host("client").network.call``."""


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address written out."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class ClientThread(ABC):
    """A context manager around a thread; its samples are written at the end.

    What ends the thread early, or keeps it from ending, is a doubt about the trial.
    """

    def __init__(self, name: str, trial: Trial) -> None:
        self._name = name
        self._trial = trial
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise LoadError(f"the client {self._name} was started before: make another one")
        self._thread = threading.Thread(target=self._guarded, name=self._name, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._stop.set()
        self._thread.join(_ENDS_WITHIN)
        if self._thread.is_alive():
            self._trial.doubt(f"the client {self._name} did not end within {_ENDS_WITHIN:g} s")
        self._trial.write_samples(self._name, self._rows())

    def _now(self) -> float:
        return self._trial.clock.now()

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._trial.doubt(f"the client {self._name} stopped early: {error}")

    @abstractmethod
    def _run(self) -> None:
        """Ask until :attr:`_stop` is set; the thread's own."""

    @abstractmethod
    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of ``samples/NAME.jsonl``."""
