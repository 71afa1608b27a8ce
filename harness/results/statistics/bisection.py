"""Find the first of several versions that shows a fault, when a single trial may mislead.

A scenario fails with one chance before the change and with a higher one from it on; neither chance
is known. Where the change is and what the chances are is one distribution, updated by Bayes' rule
with each trial; the next trial is the one that is expected to say most about where the change is
(Horstein 1963, Waeber, Frazier and Henderson 2013, with unknown error rates). Since the answer is
a posterior probability, stopping as soon as it is large enough does not make it less true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

Array = NDArray[np.float64]

#: Chances of a failure, before the change and from it on. The second is larger by this at least:
#: a smaller difference takes more trials than anybody bisects with.
_CHANCES = np.array([0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.99])
_LEAST_RISE = 0.25

#: Share of the allowed error that a posterior probability may use up. With all of it, 8 % of 200
#: simulated searches among 8 versions were wrong at chances of 5 % and 40 %, of 5 % allowed.
_KEPT = 0.5

#: Prior probability that one of the two ends is not as it was called, each.
_ENDS_MISTAKEN = 0.02


@dataclass(frozen=True)
class Tally:
    """How many trials of a version failed, and how many passed."""

    failed: int = 0
    passed: int = 0

    @property
    def trials(self) -> int:
        """How many trials gave a verdict."""
        return self.failed + self.passed


class Bisection:
    """What is known of which version is the first that fails, ``versions`` in order.

    The first version is called good and the last bad. ``bisection.probabilities[i]``: version i is
    the first that fails; 0 is "the good one fails too", ``len(versions)`` "the bad one does not".
    """

    def __init__(self, versions: Sequence[str]) -> None:
        if len(set(versions)) < 2 or len(set(versions)) != len(versions):
            raise UsageError("a bisection needs two or more different versions")
        self.versions = tuple(versions)
        self.tallies = [Tally() for _ in versions]
        before, after = np.meshgrid(_CHANCES, _CHANCES, indexing="ij")
        apart = after - before >= _LEAST_RISE
        self._before, self._after = before[apart], after[apart]
        count = len(versions)
        where = np.full(count + 1, (1 - 2 * _ENDS_MISTAKEN) / (count - 1))
        where[[0, count]] = _ENDS_MISTAKEN
        rates = len(self._before)
        self._joint: Array = np.repeat(where[:, None] / rates, rates, axis=1)

    @property
    def probabilities(self) -> Array:
        """Probability of each place of the change, given all trials so far."""
        result: Array = self._joint.sum(axis=1)
        return result

    def record(self, version: int, *, failed: bool) -> None:
        """Take in one trial of a version, by its place."""
        chance = self._chance(version)
        self._joint = self._joint * (chance if failed else 1 - chance)
        self._joint /= self._joint.sum()
        tally = self.tallies[version]
        self.tallies[version] = Tally(tally.failed + failed, tally.passed + (not failed))

    def next_version(self) -> int:
        """Return the place of the version whose trial is expected to say most."""
        return int(np.argmax([self._information(version) for version in range(len(self.versions))]))

    def found(self, certainty: float) -> int | None:
        """Return the place of the change if that is right with ``certainty``, whatever the chances.

        Posterior probabilities are right on the average over the prior. Where the two chances lie
        close together they err oftener, so half of the error that is allowed is kept for that.
        """
        likeliest = int(np.argmax(self.probabilities))
        enough = self.probabilities[likeliest] >= 1 - (1 - certainty) * _KEPT
        return likeliest if enough else None

    def _chance(self, version: int) -> Array:
        """Return the chance that a trial fails, by place of the change and chances."""
        changed = np.arange(len(self.versions) + 1)[:, None] <= version
        result: Array = np.where(changed, self._after, self._before)
        return result

    def _information(self, version: int) -> float:
        """Return the mutual information, in bits, of a trial's outcome and the change's place."""
        failing = (self._joint * self._chance(version)).sum(axis=1)
        where = self.probabilities
        given = np.divide(failing, where, out=np.zeros_like(where), where=where > 0)
        return float(_entropy(failing.sum()) - (where * _entropy(given)).sum())


def _entropy(chance: Array | float) -> Array:
    p = np.clip(chance, 1e-12, 1 - 1e-12)
    result: Array = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return result
