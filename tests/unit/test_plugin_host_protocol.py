"""What the host of guests does when its session is over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.images import Cache
from harness.pytest_plugin import host_protocol
from harness.pytest_plugin.host_protocol import HostProtocol
from harness.pytest_plugin.run_session import SHARED_RUN
from harness.pytest_plugin.session import SESSION
from harness.pytest_plugin.trial_request import TrialRequest
from harness.vm.checkpoint import run_under_way

CACHE = Cache()


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
    monkeypatch.setattr(host_protocol, "rest_after_run", found.append)
    config = SimpleNamespace(stash={SESSION: SimpleNamespace(cache=CACHE)})
    if worker:
        config.workerinput = {SHARED_RUN: "/somewhere"}
    runs: Any = SimpleNamespace(run=object() if begun else None)
    HostProtocol(cast("pytest.Config", config), runs).pytest_sessionfinish(status)
    assert found == rested


def test_while_a_run_has_trials_the_end_of_another_leaves_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    session = SimpleNamespace(
        cache=cache,
        options=SimpleNamespace(topology=None, role_engines=None),
        progress=SimpleNamespace(say=print),
    )
    monkeypatch.setattr(TrialRequest, "of", lambda *_: None)
    monkeypatch.setattr(HostProtocol, "_guests", None)
    monkeypatch.setattr(host_protocol, "run_in_guest", lambda *_: iter(()))
    config = SimpleNamespace(stash={SESSION: session})
    runs: Any = SimpleNamespace(run=None, begin=object)
    protocol = HostProtocol(cast("pytest.Config", config), runs)
    assert not run_under_way(cache)
    protocol._run(cast("pytest.Item", object()))
    assert run_under_way(cache)
    protocol.pytest_sessionfinish(0)
    assert not run_under_way(cache)
