"""Which of the harness's tests run beside which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lanes import GUESTS, INTEGRATION, lane_of

FOLDER = Path(__file__).resolve().parents[2] / INTEGRATION

# What a test in the lane of guests may not ask for: nodes on this kernel, or the host's state.
OF_NODES = re.compile(
    r"\b(NamespacesLab|DindLab|host_state|stable|seed_of|lab_of|--lab=(?:namespaces|dind))\b"
)


def test_nodes_and_guests_have_a_lane_each_and_the_rest_goes_by_files() -> None:
    assert lane_of("tests/integration/test_lab_nodes.py::test_a[1::2]") == "nodes"
    assert lane_of("tests/integration/test_snapshots_visit.py::test_a") == "guests"
    assert lane_of("tests/unit/test_lanes.py::test_a") == "tests/unit/test_lanes.py"


@pytest.mark.parametrize("name", sorted(GUESTS))
def test_what_is_in_the_lane_of_guests_leaves_the_host_alone(name: str) -> None:
    assert OF_NODES.findall((FOLDER / f"{name}.py").read_text()) == []


def test_what_makes_nodes_would_be_found_out() -> None:
    assert OF_NODES.search((FOLDER / "test_lab_nodes.py").read_text())
