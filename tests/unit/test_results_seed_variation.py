"""Trials whose times are copies of each other are told from trials that differ with the seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from stored_runs import store_run

from harness.results.comparison import compare
from harness.results.comparison_sides import sides_by_run
from harness.wait import Elapsed

VARIED = [10.1, 12.7, 11.3, 17.9, 13.2]
COPIES = [10.0, 10.0, 10.001, 10.002, 10.001]


def warnings(tmp_path: Path, values: Sequence[float | Elapsed], unit: str = "s") -> list[str]:
    """What a comparison says of the variation of its second side."""
    runs = [store_run(tmp_path, VARIED, unit=unit), store_run(tmp_path, values, day=2, unit=unit)]
    [pairing] = compare(sides_by_run(runs)).pairings
    return [said for said in pairing.left_out if "hardly vary" in said]


def test_copies_are_warned_of(tmp_path: Path) -> None:
    [said] = warnings(tmp_path, COPIES)
    assert "its times hardly vary with the seed: 5 trials are little more than one" in said


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (VARIED, "s"),
        (COPIES[:3], "s"),
        (COPIES, "1"),
        ([Elapsed(60.0, reached=False)] * 5, "s"),
        ([0.0] * 5, "s"),
    ],
    ids=["varied", "few", "counts", "not reached", "nothing"],
)
def test_others_are_not(tmp_path: Path, values: Sequence[float | Elapsed], unit: str) -> None:
    assert warnings(tmp_path, values, unit) == []
