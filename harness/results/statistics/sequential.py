"""Test pair after pair of trials, and stop whenever it is decided: evidence that may be looked at.

A p value holds for a number of trials that was fixed before. Whoever adds trials until it is small
finds a difference between equal engines sooner or later. *Evidence* holds at any moment: a bet
against "both engines behave the same", whose stake grows by the factor ``evidence``. If they are
the same, the bet is fair whatever was seen so far, so its stake ever reaches 1/alpha with a
probability of at most alpha (Ville 1939; Shafer 2021; Ramdas and others 2023, "Game-Theoretic
Statistics and Safe Anytime-Valid Inference").

The two trials of a pair have the same seed and ran one after the other, so under that hypothesis
swapping them changes nothing: given the sizes of the differences, their signs are fair coins. The
bet is on signs, a large share of the stake on large differences and a small one on small, by the
mean of several degrees of boldness in both directions, since nobody knows which is best.

Of many measures, e-BH (Wang and Ramdas 2022) rejects those whose evidence suffices for all that are
rejected; it keeps the rate of false alarms whatever the dependence between measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.results.statistics.contrast import Contrast, contrast, contrast_shares
from harness.results.statistics.judgement import ALPHA, Judgement, judge_contrast
from harness.results.statistics.multiple_testing import MeasurePair, PairResult
from harness.results.statistics.sample import Floats, Sample

FEWEST_PAIRS = 6
"""With fewer pairs nothing is called the same, or within noise: the spread that this goes by is a
guess."""

_BOLDNESS = np.array([0.1, 0.3, 0.6, 1.0, 1.7, 3.0])
_MOST_STAKED = 0.99  # whoever stakes all is out after one loss


def evidence(baseline: Sample, candidate: Sample) -> Floats:
    """Return the factor by which a bet against "no difference" has grown, after each pair.

    Both samples have one value per pair, in the order in which the pairs ran. Once it has reached
    1/alpha the hypothesis is rejected at alpha.
    """
    if len(baseline) != len(candidate):
        raise ValueError(f"{len(baseline)} and {len(candidate)} values are not pairs")
    sizes = _differences(baseline, candidate)
    scale = _running_scale(np.abs(sizes))
    relative = np.divide(sizes, scale, out=np.zeros_like(sizes), where=scale > 0)
    stakes = np.tanh(np.multiply.outer(np.concatenate([-_BOLDNESS, _BOLDNESS]), relative))
    grown = np.log1p(np.clip(stakes, -_MOST_STAKED, _MOST_STAKED)).cumsum(axis=1)
    return np.asarray(np.exp(grown).mean(axis=0), dtype=np.float64)


def adjusted_evidence(evidences: Sequence[float]) -> list[float]:
    """Return a p for each evidence that is corrected for their number, by e-BH, in their order."""
    order = sorted(range(len(evidences)), key=lambda number: -evidences[number])
    adjusted = [1.0] * len(evidences)
    least = 1.0
    for rank in range(len(order), 0, -1):
        number = order[rank - 1]
        least = min(least, len(order) / rank / evidences[number])
        adjusted[number] = least
    return adjusted


def judge_in_sequence(pairs: Sequence[MeasurePair], *, alpha: float = ALPHA) -> list[PairResult]:
    """Judge all measures at once, as often as one likes while trials come in.

    Used in place of :func:`~harness.results.statistics.multiple_testing.judge_all`. "Regressed",
    "improved" and "different" are reported in at most ``alpha`` of all such series in which nothing
    differs, however often this is asked. The other outcomes go by the ordinary interval.
    """
    contrasts = [_contrast(pair) for pair in pairs]
    # Pairs that are all equal cannot differ and do not count, as in `adjusted_p_values`.
    able = [number for number, found in enumerate(contrasts) if found.smallest_p < 1]
    adjusted = dict.fromkeys(range(len(pairs)), 1.0)
    adjusted |= zip(able, adjusted_evidence([1 / contrasts[n].p for n in able]), strict=True)
    return [
        PairResult(found, adjusted[n], _judgement(pair, found, adjusted[n], len(able), alpha))
        for n, (pair, found) in enumerate(zip(pairs, contrasts, strict=True))
    ]


def _judgement(
    pair: MeasurePair, found: Contrast, adjusted: float, measures: int, alpha: float
) -> Judgement:
    judged = judge_contrast(
        found,
        better=pair.better,
        floor=pair.floor,
        adjusted=adjusted,
        measures=measures,
        alpha=alpha,
    )
    if judged.outcome not in ("same", "within noise") or adjusted <= alpha:
        return judged
    if len(pair.baseline) < FEWEST_PAIRS:
        return Judgement("inconclusive", f"fewer than {FEWEST_PAIRS} pairs of trials")
    # A difference that is on its way is not to be missed by an interval that was looked at often.
    if found.smallest_p < 1 and found.p < 1:
        return Judgement("inconclusive", "too few trials: what evidence there is says they differ")
    return judged


def _contrast(pair: MeasurePair) -> Contrast:
    """Return the contrast with the p of the evidence: 1 over it.

    More pairs can come, so no p is the smallest: 0, unless all pairs are equal.
    """
    found = (contrast_shares if pair.share else contrast)(pair.baseline, pair.candidate)
    moved = bool(np.any(_differences(pair.baseline, pair.candidate)))
    p = min(1.0, 1 / float(evidence(pair.baseline, pair.candidate)[-1]))
    return replace(found, p=p, smallest_p=0.0 if moved else 1.0)


def _differences(baseline: Sample, candidate: Sample) -> Floats:
    """Return candidate less baseline of each pair; 0 where "longer than" leaves the sign open."""
    sizes = candidate.array - baseline.array
    unclear = (candidate.flags & (sizes < 0)) | (baseline.flags & (sizes > 0))
    both = candidate.flags & baseline.flags
    return np.where(unclear | both, 0.0, sizes)


def _running_scale(sizes: Floats) -> Floats:
    """Return the median size up to each pair, zeros left out: it knows nothing of the signs."""
    scales = np.zeros_like(sizes)
    for number in range(len(sizes)):
        known = sizes[: number + 1]
        known = known[known > 0]
        scales[number] = np.median(known) if len(known) else 0.0
    return scales
