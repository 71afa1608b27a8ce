"""Failures confined to one of a task's networks: it answers on one and not on another.

Overlay networks share the nodes and their gossip. A task that is away answers on none of its
networks; one that answers on one only has been lost by the other network's tables (moby#32629).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from harness.probes.reachability import Outage, Reachability
from harness.probes.sampling.http_prober import Attempt, Cell
from harness.wait import Elapsed

#: Seconds without a request after which nothing is known of a cell: a vantage container asks every
#: few seconds, and an answer may take two. Its own node was away.
UNWATCHED_AFTER = 10.0


def longest_on_one_network(reachability: Reachability, service: str) -> Elapsed:
    """Return the longest time a task of ``service`` answered a node on one network only.

    ``reachability`` has watched from task to task. ``reached`` False: it still did when last asked.
    """
    by_pair: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in reachability.attempts(inside=True):
        if attempt.cell.target.startswith(f"{service}."):
            node, _, _ = attempt.cell.source.partition(" ")
            by_pair[node, attempt.cell.target].append(attempt)
    found = [outage for pair in by_pair.values() for outage in failures_on_one_network(pair)]
    if not found:
        return Elapsed(0.0, reached=True)
    worst = max(found, key=lambda outage: (outage.seconds, outage.open))
    words = f"{worst.cell}: {', '.join(worst.outcomes)}"
    return Elapsed(worst.seconds, reached=not worst.open, last=words)


def failures_on_one_network(attempts: Iterable[Attempt]) -> Iterator[Outage]:
    """Yield the failures in a row in one network, from the first answer in another one on.

    ``attempts`` are one node's requests to one task in all its networks, in order of time. A gap in
    the requests ends a row: nothing is known of that time.
    """
    by_cell: dict[Cell, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_cell[attempt.cell].append(attempt)
    for cell, own in by_cell.items():
        answered = [
            attempt.t
            for other, theirs in by_cell.items()
            if other != cell
            for attempt in theirs
            if attempt.outcome == "ok"
        ]
        for outage in _failures_in_a_row(own):
            meanwhile = [t for t in answered if outage.began <= t < outage.ended]
            if meanwhile:
                yield Outage(cell, min(meanwhile), outage.ended, outage.outcomes, outage.open)


def _failures_in_a_row(attempts: Iterable[Attempt]) -> Iterator[Outage]:
    """Yield the rows of failures of one cell; the last one is open if nothing came after it."""
    row: list[Attempt] = []
    for attempt in attempts:
        unwatched = bool(row) and attempt.t - row[-1].t > UNWATCHED_AFTER
        if row and (unwatched or attempt.outcome == "ok"):
            yield _outage(row, ended=None if unwatched else attempt.t, still=False)
            row = []
        if attempt.outcome != "ok":
            row.append(attempt)
    if row:
        yield _outage(row, ended=None, still=True)


def _outage(row: list[Attempt], *, ended: float | None, still: bool) -> Outage:
    last = row[-1]
    end = last.t + last.took if ended is None else ended
    outcomes = tuple(dict.fromkeys(attempt.outcome for attempt in row))
    return Outage(last.cell, row[0].t, round(end, 6), outcomes, still)
