"""Which ends of a node's dockerd were asked for; all others it died of itself."""

from __future__ import annotations

import time


class DockerdEnds:
    """The account of one node's dockerd, over all its restarts and the node's own.

    Nothing but this harness starts or ends a dockerd. So one that is found dead although it was
    started, and no end was asked for since, died unasked, whoever finds it.
    """

    def __init__(self) -> None:
        self.unasked: list[float] = []
        """When an unasked end was found, by the monotonic clock: the end itself was before."""
        self._should_run = False

    @property
    def to_run(self) -> bool:
        """Whether it was started, and no end was asked for since."""
        return self._should_run

    def started(self) -> None:
        """Count it as running from now on."""
        self._should_run = True

    def asked(self) -> None:
        """Note that its end, or that of its node, is about to be asked for."""
        self._should_run = False

    def found_dead(self) -> None:
        """Note that it does not run; only what should run has died unasked, and only once."""
        if self._should_run:
            self._should_run = False
            self.unasked.append(time.monotonic())
