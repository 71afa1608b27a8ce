"""What restarts a dockerd that died, on a real host: the unit of Docker's packages.

``Restart=always``, ``RestartSec=2``, ``StartLimitBurst=3``, ``StartLimitInterval=60s``
(docker-ce's docker.service): a dockerd that ends by itself is started again after 2 s, and after
three such starts within a minute the unit has failed and stays down. systemd counts the start at
boot too, which is not counted here: a host whose dockerd dies right after booting gives up one
start earlier than a supervised node.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from harness.errors import HarnessError
from harness.lab import Node
from harness.trial import Trial

RESTART_AFTER = 2.0
STARTS = 3
WITHIN = 60.0

#: Seconds between two looks at whether a dockerd is there: a guest is emulated, and a look costs.
_LOOK = 0.25


class StartLimit:
    """Counts a unit's starts, and says when there have been too many."""

    def __init__(self) -> None:
        self._starts: list[float] = []

    def may_start(self, now: float) -> bool:
        """Return whether the unit may be started now; if so, the start counts."""
        self._starts = [at for at in self._starts if now - at < WITHIN]
        if len(self._starts) >= STARTS:
            return False
        self._starts.append(now)
        return True


class Supervisor:
    """Restarts the dockerds of some nodes when they die unasked, as their hosts would.

    ::

        with faults.host.supervise(swarm.workers) as host:
            ...
        measure(RESTARTS, host.restarts())

    One that a fault or a scenario has ended is wanted dead, and stays so. A death is a death all
    the same: the trial counts it as unasked.
    """

    def __init__(self, trial: Trial, nodes: Iterable[Node]) -> None:
        self._trial = trial
        self._limits = {node.name: StartLimit() for node in nodes}
        self._nodes = {node.name: node for node in nodes}
        self._restarts = dict.fromkeys(self._nodes, 0)
        self._failed: set[str] = set()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(node,), name=f"unit {name}", daemon=True)
            for name, node in self._nodes.items()
        ]

    def __enter__(self) -> Self:
        """Start to watch."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching; what runs goes on."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60.0)

    def restarts(self, node: Node | None = None) -> int:
        """Return how often dockerd was started again, on one node or on all."""
        return self._restarts[node.name] if node else sum(self._restarts.values())

    @property
    def failed(self) -> list[str]:
        """The names of nodes whose unit has failed: three starts within a minute."""
        return sorted(self._failed)

    def _watch(self, node: Node) -> None:
        while not self._stop.wait(_LOOK):
            try:
                if node.up and not node.dockerd.alive and self._died(node):
                    self._restart(node)
            except HarnessError as error:
                self._note(f"the unit on {node.name}: {error.what}")

    @staticmethod
    def _died(node: Node) -> bool:
        before = len(node.dockerd_ends.unasked)
        node.dockerd_ends.found_dead()
        return len(node.dockerd_ends.unasked) > before

    def _restart(self, node: Node) -> None:
        if not self._limits[node.name].may_start(time.monotonic()):
            self._failed.add(node.name)
            self._note(f"dockerd died on {node.name}; its unit has failed: {STARTS} starts before")
            return
        if self._stop.wait(RESTART_AFTER):
            return
        self._note(f"dockerd died on {node.name}; its unit starts it again")
        node.dockerd.start()
        self._restarts[node.name] += 1

    def _note(self, text: str) -> None:
        self._trial.journal.write("note", text=text)
