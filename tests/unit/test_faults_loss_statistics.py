"""How many packets a loss is measured with, and which numbers fit a share."""

from __future__ import annotations

import pytest

from harness.faults.network.loss_statistics import consistent, packets_needed


@pytest.mark.parametrize(
    ("share", "number"), [(1.0, 1), (0.5, 11), (0.1, 73), (0.01, 757), (0.001, 7598)]
)
def test_so_many_are_sent_that_some_must_be_lost(share: float, number: int) -> None:
    assert packets_needed(share) == number
    assert not consistent(0, number, share)


@pytest.mark.parametrize(
    ("lost", "seen", "share", "fits"),
    [
        (30, 300, 0.1, True),
        (48, 300, 0.1, True),
        (49, 300, 0.1, False),  # P(X >= 48) is 0.00080, P(X >= 49) is 0.00044
        (14, 300, 0.1, True),
        (13, 300, 0.1, False),
        (300, 300, 0.1, False),
        (7, 7, 1.0, True),
        (6, 7, 1.0, False),
        (100, 200, 0.5, True),
        (7, 7598, 0.001, True),
    ],
)
def test_what_fits_a_share(lost: int, seen: int, share: float, fits: bool) -> None:
    assert consistent(lost, seen, share) is fits
