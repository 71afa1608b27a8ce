"""What an operator's machines do again and again: prune, deploy the same stack, poll for tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.lab import Node
from harness.load.client_thread import ClientThread
from harness.load.docker_cli import docker
from harness.swarm import Swarm, Workload
from harness.swarm.stacks import as_stack
from harness.trial import Trial


@dataclass(frozen=True)
class Act:
    """One time: when it began (trial s), how long it took (s), what was said, whether it failed."""

    t: float
    took: float
    said: str
    failed: bool


class Cron(ClientThread):
    """Does something every so many seconds while the ``with`` block lasts, the first time at once.

    ``work`` returns what it has to say; a :class:`HarnessError` is a failed act, and it goes on::

        with prune_every(5.0, worker, trial) as cron:
            ...
        measure(FAILED, cron.failed)
    """

    def __init__(
        self, every: float, work: Callable[[], str], trial: Trial, *, name: str = "cron"
    ) -> None:
        super().__init__(name, trial)
        self._every = every
        self._work = work
        self._acts: list[Act] = []

    @property
    def acts(self) -> list[Act]:
        """All that was done so far, in order."""
        with self._lock:
            return list(self._acts)

    @property
    def failed(self) -> int | None:
        """How many acts failed; None if nothing was done."""
        acts = self.acts
        return sum(act.failed for act in acts) if acts else None

    def longest(self) -> float | None:
        """Return how long the longest act took, in seconds; None if nothing was done."""
        return max((act.took for act in self.acts), default=None)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            began, failed = self._now(), False
            try:
                said = self._work()
            except HarnessError as error:
                said, failed = error.what, True
            with self._lock:
                self._acts.append(Act(began, round(self._now() - began, 6), said, failed))
            due = max(due + self._every, time.monotonic())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for act in self.acts:
            yield {"t": act.t, "took": act.took, "said": act.said, "failed": act.failed}


def prune_every(seconds: float, node: Node, trial: Trial) -> Cron:
    """Return a crontab of ``docker system prune --force`` on a node."""
    return Cron(seconds, lambda: docker(node, "system", "prune", "--force"), trial, name="prune")


def deploy_every(seconds: float, workload: Workload, swarm: Swarm, trial: Trial) -> Cron:
    """Return a pipeline that deploys a workload as a stack by the command line, over and over."""
    stack = as_stack(workload)

    def deploy() -> str:
        swarm.create(stack)
        return f"deployed {workload.name}"

    return Cron(seconds, deploy, trial, name="deploy")
