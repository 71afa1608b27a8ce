"""How fast the daemons' memory grew, from the samples of stored trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from harness.results.run import Run, StoredTrial
from harness.results.samples import samples
from harness.results.statistics.slopes import slope_of

QUANTITIES = ("heap", "anonymous", "rss")
"""Of samples/memory.jsonl, in bytes: Go's heap, anonymous memory, everything resident."""

_PER_HOUR = 3600 / (1 << 20)


class MemoryGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """MemoryGrowth of one quantity on one node, in MiB/h with its 95 % interval.

    It covers the longest-lived dockerd process, from ``since`` to ``until`` in trial seconds.
    """

    trial: str
    node: str
    quantity: str
    per_hour: float
    low: float
    high: float
    since: float
    until: float

    @property
    def grows(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0


def memory_growth(run: Run) -> tuple[MemoryGrowth, ...]:
    """Return the growth on every node that has enough samples."""
    return tuple(growth for trial in run.trials for growth in _of_trial(trial))


def _of_trial(trial: StoredTrial) -> Iterator[MemoryGrowth]:
    rows = [r for r in samples(trial.folder, "memory").rows if _number(r.get("t"))]
    for node in sorted({str(r.get("node")) for r in rows}):
        own = sorted((r for r in rows if r.get("node") == node), key=lambda r: r["t"])
        lives = [list(life) for _, life in groupby(own, key=lambda r: r.get("pid"))]
        life = max(lives, key=_seconds, default=[])
        for quantity in QUANTITIES:
            known = [r for r in life if _number(r.get(quantity))]
            slope = slope_of([r["t"] for r in known], [r[quantity] for r in known])
            if slope is not None:
                yield MemoryGrowth(
                    trial=trial.id,
                    node=node,
                    quantity=quantity,
                    per_hour=slope.per_second * _PER_HOUR,
                    low=slope.low * _PER_HOUR,
                    high=slope.high * _PER_HOUR,
                    since=known[0]["t"],
                    until=known[-1]["t"],
                )


def _seconds(life: Sequence[dict[str, Any]]) -> float:
    return float(life[-1]["t"] - life[0]["t"]) if life[0].get("pid") is not None else -1.0


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
