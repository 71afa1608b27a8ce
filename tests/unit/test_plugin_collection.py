"""In which order trials come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.pytest_plugin.collection import grouped
from harness.pytest_plugin.markers import TrialPoint
from harness.swarm import balanced_web

OPTIONS: Any = SimpleNamespace(topology=None, role_engines={})
WEB, WIDE = balanced_web(replicas=4), balanced_web(replicas=9)


def item(name: str, seed: int, **swarm: Any) -> Any:
    """A scenario at one point."""
    mark = pytest.mark.swarm(**swarm).mark
    return SimpleNamespace(
        nodeid=f"{name}-s{seed}",
        fixturenames=("point",),
        callspec=SimpleNamespace(params={"point": TrialPoint("stable", seed)}),
        get_closest_marker=lambda name: mark if name == "swarm" else None,
    )


def test_trials_with_a_warm_up_in_common_come_together() -> None:
    plain: Any = SimpleNamespace(nodeid="plain", fixturenames=())
    items = [
        item(name, seed, managers=managers, serving=serving)
        for name, managers, serving in (
            ("a", 3, WEB), ("b", 3, WIDE), ("c", 3, WEB), ("d", 5, WEB), ("e", 3, WEB),
        )
        for seed in (1, 2)
    ]  # fmt: skip
    ordered = [each.nodeid for each in grouped([plain, *items], OPTIONS)]
    assert ordered == [
        "plain",
        *("a-s1", "c-s1", "e-s1", "a-s2", "c-s2", "e-s2"),
        *("b-s1", "b-s2", "d-s1", "d-s2"),
    ]
