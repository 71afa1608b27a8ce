"""A packet capture is one of a trial's inputs, and needs tcpdump."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from optionals import not_none

from harness.errors import MissingError
from harness.lab import Topology
from harness.probes import capture
from harness.pytest_plugin.guest_runner import Assignment
from harness.pytest_plugin.markers import TrialPoint
from harness.pytest_plugin.trial_request import TrialRequest


@pytest.mark.parametrize("wanted", [True, False])
def test_it_is_on_record_and_a_guest_is_told(wanted: bool) -> None:
    item: Any = SimpleNamespace(nodeid="t.py::t", get_closest_marker=lambda _: None)
    request = TrialRequest("t.py::t", TrialPoint("stable", 1), Topology(1), capture=wanted)
    assert request.options == ({"capture_packets": "yes"} if wanted else {})
    args = Assignment(item, request, topology_given=False).args()
    assert ("--capture-packets" in args) is wanted


def test_without_tcpdump_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.probes.capture.shutil.which", lambda _: None)
    nothing: Any = None
    with pytest.raises(MissingError) as missing:
        capture.Capture(nothing, nothing)
    assert "apt-get install tcpdump" in not_none(missing.value.hint)
