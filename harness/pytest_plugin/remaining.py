"""How many trials are left, and about how long they take: a line after each trial."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.files import human_age
from harness.images import Say
from harness.pytest_plugin.markers import is_scenario

#: What the node id of every scenario has, and only of those: an engine and a seed.
_AT_A_POINT = re.compile(r"\[.*-s\d+(-|\])")


def usual_seconds(reports: Path) -> dict[str, float]:
    """Return how long trials of each test took in the latest run, on their own clock, by its name.

    The name is the node id's up to the brackets. Empty if there is no run that can be read.
    """
    from harness.results import latest_run, read_run

    try:
        trials = read_run(latest_run(reports)).trials
    except HarnessError:
        return {}
    times: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        times[_test_of(trial.record.inputs.scenario)].append(trial.record.seconds)
    return {test: fmean(each) for test, each in times.items()}


class Remaining:
    """Says how many trials of a session are left. A plugin of pytest, for its terminal's process.

    A trial counts for as much as trials of its test took in the latest run, and one that was not in
    it for as much as the others on average; the pace is this session's own, of all workers.
    """

    def __init__(
        self, say: Say, usual: Mapping[str, float], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._usual = usual
        self._now = now
        self._left: dict[str, float] = {}
        self._total = 0
        self._done = 0.0
        self._began = 0.0

    def begin(self, node_ids: Iterable[str]) -> None:
        """Begin to count down these."""
        if self._left:
            return  # each worker of pytest-xdist says what it has collected: the same
        average = fmean(self._usual.values()) if self._usual else 1.0
        self._left = {each: self._usual.get(_test_of(each), average) for each in node_ids}
        self._total = len(self._left)
        self._began = self._now()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what this process has collected itself."""
        if not session.config.option.collectonly:
            self.begin(item.nodeid for item in session.items if is_scenario(item))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:  # noqa: ARG002
        """Count what the workers have collected."""
        self.begin(each for each in ids if _AT_A_POINT.search(each))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Say what is left after a trial."""
        if nodeid not in self._left:
            return
        self._done += self._left.pop(nodeid)
        if not self._left:
            return
        seconds = (self._now() - self._began) * sum(self._left.values()) / max(self._done, 1e-9)
        self._say(
            f"{self._total - len(self._left)} of {self._total} trials done, "
            f"about {human_age(seconds)} left"
        )


def _test_of(node_id: str) -> str:
    return node_id.partition("[")[0]
