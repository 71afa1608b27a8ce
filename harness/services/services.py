"""The fixture ``services``: outside services, started when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from harness.errors import UsageError
from harness.lab import NamespacesLab
from harness.services.gelf_sink import GelfSink
from harness.services.outside import OutsideService
from harness.trial import Trial

S = TypeVar("S", bound=OutsideService)


class Services:
    """The outside services of one trial, by name. Each is at a site of that name."""

    def __init__(self, lab: NamespacesLab, trial: Trial) -> None:
        self._lab = lab
        self._trial = trial
        self.running: dict[str, OutsideService] = {}

    def gelf_sink(self, name: str = "gelf") -> GelfSink:
        """The GELF sink of this name. Its samples are ``samples/<name>.jsonl``."""
        return self._one(
            name,
            GelfSink,
            lambda: GelfSink(
                self._lab,
                name,
                samples=self._trial.samples(name),
                log=self._trial.folder / "logs" / f"{name}.log",
                origin=self._trial.clock.origin,
            ),
        )

    def close(self) -> None:
        """End them all."""
        for service in self.running.values():
            service.close()

    def _one(self, name: str, kind: type[S], start: Callable[[], S]) -> S:
        if name in self._lab.nodes:
            raise UsageError(f"{name!r} is a node: an outside service needs another name")
        there = self.running.get(name)
        if there is None:
            there = self.running[name] = start()
            self._trial.journal.write(
                "service.ready", service=name, what=there.kind, address=there.address
            )
        if not isinstance(there, kind):
            raise UsageError(f"the outside service {name!r} is a {there.kind}, no {kind.kind}")
        return there
