"""Which trials to run next: those that are expected to decide most in the least time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.results.comparison import Finding
from harness.results.comparison_sides import Side

MOST_AT_ONCE = 4
"""Pairs of trials between two looks: a look costs nothing, but starting a round does."""

_UNBOUNDED = 0.25
"""What a measure without a bound is worth next to one with a bound."""


@dataclass(frozen=True)
class NextTrials:
    """A scenario, and how many pairs of trials of it to run."""

    scenario: str
    pairs: int


def next_trials(
    findings: Sequence[Finding],
    seconds: Mapping[str, float],
    *,
    left: float,
    among: Collection[str],
) -> NextTrials | None:
    """Return what to run next; None if nothing is undecided, or nothing fits into ``left`` seconds.

    ``seconds`` is what a pair of trials of each scenario takes. Each undecided measure is worth the
    more the fewer pairs it is expected to need, per second that they take.
    """
    needs: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for finding in findings:
        fits = finding.scenario in among and seconds[finding.scenario] <= left
        if finding.outcome == "inconclusive" and fits:
            need = max(1, (finding.decided_by or 0) - finding.trials)
            needs[finding.scenario].append((need, 1.0 if finding.bound else _UNBOUNDED))
    if not needs:
        return None

    def worth(scenario: str) -> float:
        return sum(weight / need for need, weight in needs[scenario]) / seconds[scenario]

    best = max(needs, key=worth)
    soonest = min(need for need, _ in needs[best])
    fitting = int(left // seconds[best])
    return NextTrials(best, max(1, min(soonest, MOST_AT_ONCE, fitting)))


def seconds_of_pairs(sides: Sequence[Side], *, pace: float = 1.0) -> dict[str, float]:
    """Return how long a pair of trials of each scenario takes, by those that there are.

    ``pace`` is how many seconds of this machine a trial's own second takes.
    """
    total: dict[str, float] = defaultdict(float)
    for side in sides:
        lengths: dict[str, list[float]] = defaultdict(list)
        for trial in side.trials:
            lengths[trial.record.inputs.scenario].append(trial.record.seconds)
        for scenario, each in lengths.items():
            total[scenario] += fmean(each) * pace
    return {scenario: max(seconds, 1e-3) for scenario, seconds in total.items()}
