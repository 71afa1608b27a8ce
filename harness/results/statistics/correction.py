"""Correct p values for many measures at once, so that few reported differences are false."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from harness.results.statistics.contrast import Contrast


def adjusted_p_values(contrasts: Sequence[Contrast], alpha: float) -> list[float]:
    """Return the p values after Benjamini and Hochberg (1995), in the order of ``contrasts``.

    Among differences reported where the result is at most ``alpha``, a share of ``alpha`` is
    expected to be false; if nothing differs at all, any difference is reported in that share of
    comparisons. Measures that cannot reach such a p however their values are assigned to the
    sides (all equal, too few) do not count (Tarone 1990).
    """
    able = [number for number, contrast in enumerate(contrasts) if contrast.smallest_p <= alpha]
    adjusted = [1.0] * len(contrasts)
    if able:
        controlled = stats.false_discovery_control([contrasts[number].p for number in able])
        for number, p in zip(able, controlled, strict=True):
            adjusted[number] = min(1.0, float(p))
    return adjusted


def measures_counted(contrasts: Sequence[Contrast], alpha: float) -> int:
    """Return the number of measures that the correction is for."""
    return sum(contrast.smallest_p <= alpha for contrast in contrasts)
