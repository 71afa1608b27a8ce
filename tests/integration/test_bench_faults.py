"""A fault that has been injected is felt at once: its injection returns when it is proven."""

from __future__ import annotations

import pytest

from harness.bench.faults import metrics
from harness.engine import Engine

pytestmark = pytest.mark.integration


def test_half_of_all_effects_are_felt_within_100_ms(stable: Engine) -> None:
    measured = {figure.name: figure for figure in metrics(stable, runs=1)}
    kinds = [name for name in measured if name.startswith("fault.effect.")]
    assert len(kinds) >= 5
    assert all(measured[name.replace("effect", "inject")].unit == "s" for name in kinds)
    assert measured["fault.effect"].value < 0.1
