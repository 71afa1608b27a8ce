"""Which faults are injected in a trial now, and which cannot be injected as well.

A fault is added before it touches anything and removed when it is proven to be undone, so
whatever happens in between, what must still be healed is known.
"""

from __future__ import annotations

import threading
from typing import Protocol

from harness.errors import FaultError


class Injected(Protocol):
    """What is asked of a fault here."""

    def claims(self) -> frozenset[str]:
        """Return what it needs for itself while it is injected."""
        ...

    def heal(self) -> None:
        """Undo it; nothing happens if there is nothing to undo."""
        ...


class ActiveFaults:
    """The faults that are injected in one trial, in the order of their injection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[Injected, str, frozenset[str]]] = []
        self.endangered: dict[str, str] = {}
        """Node -> name of the first fault of the trial that its dockerd may die of."""

    @property
    def active(self) -> list[Injected]:
        """The faults that are injected and not healed, first injected first."""
        with self._lock:
            return [fault for fault, _, _ in self._entries]

    def add(self, fault: Injected, name: str) -> None:
        """Count a fault as injected from now on, under a name for messages.

        Raises :class:`FaultError` when an active one claims the same.
        """
        claims = fault.claims()
        with self._lock:
            for _, other, taken in self._entries:
                if both := claims & taken:
                    raise FaultError(
                        f"{name} contradicts {other}, which is injected: "
                        f"both claim {', '.join(sorted(both))}",
                        hint="heal that one first, or take another target",
                    )
            self._entries.append((fault, name, claims))

    def endanger(self, node: str, name: str) -> None:
        """Note that the fault ``name`` may end the dockerd of a node, from now to the trial's end.

        To the end, because an end is found later than it happens, and may be after the heal.
        """
        self.endangered.setdefault(node, name)

    def claimed_by(self, claim: str, *, other_than: Injected) -> str | None:
        """Return the name of another active fault that claims this, or None."""
        with self._lock:
            return next(
                (
                    name
                    for fault, name, claims in self._entries
                    if claim in claims and fault is not other_than
                ),
                None,
            )

    def remove(self, fault: Injected) -> None:
        """Remove a fault: it is healed, or was never begun."""
        with self._lock:
            self._entries = [entry for entry in self._entries if entry[0] is not fault]

    def heal_all(self) -> list[Exception]:
        """Heal everything, last injected first; return the errors of those that stay active.

        One that fails is tried once more when another has been healed after it, which may have been
        in its way. A ``KeyboardInterrupt`` is raised when all have been tried.
        """
        interrupt: BaseException | None = None
        while True:
            errors: list[Exception] = []
            waiting = self.active
            for fault in reversed(waiting):
                try:
                    fault.heal()
                except Exception as error:
                    errors.append(error)  # the fault has recorded the doubt
                except BaseException as error:
                    interrupt = error
            if interrupt is not None:
                raise interrupt
            if not errors or len(self.active) == len(waiting):
                return errors
