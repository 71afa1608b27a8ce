"""What the host of guests does when its session is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.pytest_plugin import host_protocol
from harness.pytest_plugin.host_protocol import HostProtocol
from harness.pytest_plugin.run_session import SHARED_RUN
from harness.pytest_plugin.session import SESSION

CACHE = object()


@pytest.mark.parametrize(
    ("begun", "worker", "status", "rested"),
    [
        pytest.param(True, False, 1, [CACHE], id="a run"),
        pytest.param(False, False, 5, [], id="nothing ran"),
        pytest.param(True, True, 0, [], id="a worker, and others may still thaw"),
        pytest.param(True, False, 2, [], id="somebody is in a hurry"),
    ],
)
def test_checkpoints_come_to_rest_when_the_run_is_over(
    begun: bool, worker: bool, status: int, rested: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    monkeypatch.setattr(host_protocol, "rest", found.append)
    config = SimpleNamespace(stash={SESSION: SimpleNamespace(cache=CACHE)})
    if worker:
        config.workerinput = {SHARED_RUN: "/somewhere"}
    runs: Any = SimpleNamespace(run=object() if begun else None)
    HostProtocol(cast("pytest.Config", config), runs).pytest_sessionfinish(status)
    assert found == rested
