"""How often nodes get another certificate: an engine that renews without end does it all the time.

Engines say nothing of a renewal unless they debug, so it is read from where it ends: the file in
which each node keeps its certificate.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from harness.lab import Node

#: Seconds between two looks. An engine that renewed without end did so 38 times a second
#: (moby#31803); one that is seen four times a second is seen.
EVERY = 0.25

_FILE = "data/swarm/certificates/swarm-node.crt"


class Renewals:
    """The probe: ``with renewals.watch(): ...``, then ``renewals.most()``."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._files = {node.name: node.here.dir / _FILE for node in nodes}
        self._last = {name: self._read(name) for name in self._files}
        self._stop = threading.Event()
        #: How often a node's certificate was found to be another one, by its name.
        self.counts: Counter[str] = Counter()

    @contextmanager
    def watch(self, every: float = EVERY) -> Iterator[Renewals]:
        """Watch the nodes' certificates while the block lasts."""
        thread = threading.Thread(target=self._sample, args=(every,), name="renewals", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            self._look()

    def most(self) -> int:
        """Return how often the node that got most certificates got another one."""
        return max(self.counts.values(), default=0)

    def listed(self) -> str:
        """Return the count of each node that got another one, in words."""
        return ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))

    def _sample(self, every: float) -> None:
        while not self._stop.wait(every):
            self._look()

    def _look(self) -> None:
        for name, before in self._last.items():
            now = self._read(name)
            if now and now != before:
                self._last[name] = now
                if before:
                    self.counts[name] += 1

    def _read(self, name: str) -> str:
        try:
            return hashlib.sha256(self._files[name].read_bytes()).hexdigest()
        except OSError:  # it is being replaced, or the node is in no swarm
            return ""
