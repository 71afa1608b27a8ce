"""What a comparison comes to, in a few sentences: worse, better, not decided, the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from harness.report.comparing.comparison_text import interval_of, scenario_name, shift_of
from harness.report.sanitize import plain
from harness.results.comparison import Comparison, Finding, Pairing
from harness.results.statistics import ComparisonOutcome
from harness.trial import limit_text

_BUDGET = "2h"
_MOST_CHANGED = 6
_MOST_ALIKE = 3


@dataclass(frozen=True)
class Conclusion:
    """A sentence, the findings that it rests on (the most important alone), and what to type."""

    head: str
    findings: tuple[str, ...]
    command: str = ""


_CHANGES: Sequence[tuple[str, ComparisonOutcome]] = (
    ("Worse", "regressed"),
    ("Different", "different"),
    ("Better", "improved"),
)


def conclusions_of(comparison: Comparison, pairing: Pairing) -> tuple[Conclusion, ...]:
    """Return what one side comes to next to the baseline, what is held against a bound first."""
    found = []
    for word, outcome in _CHANGES:
        changed = _of(pairing, outcome)
        if changed:
            found.append(_listed(word, changed, _MOST_CHANGED))
    if not any(_of(pairing, outcome) for _, outcome in _CHANGES) and pairing.findings:
        found.append(Conclusion("Nothing is known to be worse, better or different.", ()))
    undecided = _of(pairing, "inconclusive")
    if undecided:
        found.append(_undecided(comparison, pairing, undecided))
    alike = _of(pairing, "same", "within noise")
    if alike:
        found.append(_listed("The same, as far as it matters", alike, _MOST_ALIKE))
    return tuple(found)


def _of(pairing: Pairing, *outcomes: ComparisonOutcome) -> list[Finding]:
    """Return the findings with these outcomes: bounded ones first, then the clearest."""
    found = (f for f in pairing.findings if f.outcome in outcomes)
    return sorted(found, key=lambda f: (f.bound is None, f.adjusted, -abs(f.delta)))


def _listed(word: str, findings: Sequence[Finding], most: int) -> Conclusion:
    telling = [finding for finding in findings if finding.low != finding.high]
    lines = [_effect(finding) for finding in telling[:most]]
    left = len(findings) - len(lines)
    if lines and left:
        lines.append(f"and {left} more")
    return Conclusion(f"{word}: {_counted(findings)}.", tuple(lines))


def _effect(finding: Finding) -> str:
    bound = f"; {limit_text(finding.bound, finding.unit)} expected" if finding.bound else ""
    return (
        f"{plain(finding.measure)} in {scenario_name(finding)}: {shift_of(finding)} "
        f"(95 %: {interval_of(finding)}{bound})"
    )


def _counted(findings: Sequence[Finding]) -> str:
    bounded = sum(finding.bound is not None for finding in findings)
    measures = "1 measure" if len(findings) == 1 else f"{len(findings)} measures"
    if not bounded:
        return f"{measures}, none with a bound"
    return measures + (
        ", with a bound" if bounded == len(findings) else f", {bounded} with a bound"
    )


def _undecided(comparison: Comparison, pairing: Pairing, findings: Sequence[Finding]) -> Conclusion:
    """Say how many more trials would decide, and how to have them run."""
    more = sorted((f.decided_by or f.trials + 1) - f.trials for f in findings)
    half, most = more[ceil(len(more) / 2) - 1], more[ceil(0.9 * len(more)) - 1]
    trials = "1 more trial" if half == 1 else f"{half} more trials"
    said = f"About {trials} of each side would decide "
    if len(findings) == 1:
        said += "it"
    elif half == most:
        said += "most of them"
    else:
        said += f"half of them, {most} nearly all"
    return Conclusion(
        f"Not decided: {_counted(findings)}. {said}.",
        (),
        deciding_command(comparison, pairing, findings),
    )


def deciding_command(comparison: Comparison, pairing: Pairing, findings: Sequence[Finding]) -> str:
    """Return the command that runs the trials which are missing."""
    if comparison.by == "engine":
        stored = [word for run in comparison.runs for word in ("--continue", run)]
        words = ["--until-decided", "--budget", _BUDGET, *stored]
        words += ["--engine", f"{comparison.baseline},{pairing.candidate}"]
        return shlex.join(["swarm-chaos", "run", *map(plain, words)])
    total = max(f.decided_by or f.trials + 1 for f in findings)
    scenarios = dict.fromkeys(plain(f.scenario) for f in findings)
    few = list(scenarios) if len(scenarios) <= _MOST_ALIKE else []
    return shlex.join(["swarm-chaos", "run", "--trials", str(total), *few])
