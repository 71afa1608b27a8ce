"""Many measures at once: of what is called a difference, few are to be none."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from harness.results.statistics.contrast import Contrast


def corrected(contrasts: Sequence[Contrast], alpha: float) -> list[float]:
    """The p values after Benjamini and Hochberg (1995), in the order of ``contrasts``.

    What is called a difference where the result is at most ``alpha`` is, in a share of ``alpha``
    of the cases, none; and where nothing differs at all, anything is called a difference in that
    share of comparisons. Values that cannot give such a p however they are dealt to the sides (all
    the same, too few) do not count among the measures (Tarone 1990).
    """
    able = [number for number, contrast in enumerate(contrasts) if contrast.least <= alpha]
    adjusted = [1.0] * len(contrasts)
    if able:
        controlled = stats.false_discovery_control([contrasts[number].p for number in able])
        for number, p in zip(able, controlled, strict=True):
            adjusted[number] = min(1.0, float(p))
    return adjusted


def measures_counted(contrasts: Sequence[Contrast], alpha: float) -> int:
    """How many measures the correction is for."""
    return sum(contrast.least <= alpha for contrast in contrasts)
