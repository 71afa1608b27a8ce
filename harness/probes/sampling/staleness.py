"""What is given compared with what is true: arithmetic over views and lives, and no socket.

Times are trial seconds. A dead address that is still given is *stale*, a live one that is not
given is *missing*. Both are counted from the truth's own moment: the end of the container, or the
moment from which it was to be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

#: Seconds around a planned stop in which an address may be there or not: swarm takes a task out
#: of service first and waits for 2 s, and the signal's event tells when that was.
LEAVING = 0.5


@dataclass(frozen=True)
class View:
    """What one place was answered from ``first`` to ``last`` (both are times of answers).

    ``error``: why there was no answer ("" if there was one). ``blind``: nobody was there to ask.
    """

    first: float
    last: float
    addresses: frozenset[str] = frozenset()
    error: str = ""
    blind: bool = False


@dataclass(frozen=True)
class Truth:
    """One address under one name: live from ``since`` to ``until`` (None: still).

    ``leaving``: from then on it may be taken out; at ``until`` it must soon be out.
    """

    address: str
    since: float
    until: float | None = None
    leaving: float | None = None
    task: str = ""

    @property
    def wanted_until(self) -> float:
        """The time until which it must be given."""
        ends = [t for t in (self.until, self.leaving) if t is not None]
        return min(ends) - LEAVING if self.leaving is not None else min(ends, default=_EVER)


@dataclass(frozen=True)
class Stretch:
    """An address that was stale or missing from ``began`` to ``ended``.

    ``open``: it still was when the watching ended.
    """

    kind: Literal["stale", "missing"]
    address: str
    task: str
    began: float
    ended: float
    open: bool = False

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return round(self.ended - self.began, 6)


_EVER = float("inf")


def stale(views: Sequence[View], truths: Iterable[Truth]) -> list[Stretch]:
    """Return dead addresses that were still given, each from its end until it was given last.

    An address that is taken again (by another task of the same name) is alive again. Exact to the
    time between two answers, which is never counted: an answer is only held against what was dead
    when it came.
    """
    if not views:
        return []
    found = []
    end = views[-1].last
    for dead, task, died, reborn in _deaths(truths):
        given = [v for v in views if dead in v.addresses and v.last > died and v.first < reborn]
        if given:
            ended = min(given[-1].last, reborn)
            found.append(Stretch("stale", dead, task, died, ended, open=ended >= end))
    return sorted(found, key=lambda s: (s.began, s.address))


def missing(views: Sequence[View], truths: Iterable[Truth]) -> list[Stretch]:
    """Return live addresses that were not given, each from when it was wanted until it was given.

    No answer gives no address. Where nobody was there to ask nothing is counted, nor before the
    first view. Exact to the time between two answers.
    """
    found = []
    for truth in truths:
        began: float | None = None
        last = 0.0
        asked = False
        for view in views:
            if view.last < truth.since or view.first >= truth.wanted_until:
                continue
            absent = not view.blind and truth.address not in view.addresses
            if absent:
                if began is None:
                    began = view.first if asked else max(truth.since, views[0].first)
                last = min(view.last, truth.wanted_until)
            elif began is not None:
                given = min(view.first, truth.wanted_until)
                found.append(_missing(truth, began, last if view.blind else given))
                began = None
            asked = True
        if began is not None:
            found.append(_missing(truth, began, last, still=last >= views[-1].last))
    kept = [stretch for stretch in found if stretch.ended > stretch.began]
    return sorted(kept, key=lambda stretch: (stretch.began, stretch.address))


def most_at_once(stretches: Iterable[Stretch]) -> int:
    """Return how many of these stretches there were at one moment, at most."""
    edges = [edge for each in stretches for edge in ((each.began, 1), (each.ended, -1))]
    most = now = 0
    for _, step in sorted(edges):
        now += step
        most = max(most, now)
    return most


def wrong_now(view: View, truths: Iterable[Truth], now: float) -> list[str]:
    """Return what is wrong with a view at a time, as phrases; none when it is as it should be."""
    if view.blind:
        return ["nobody to ask"]
    truths = list(truths)
    alive = {t.address for t in truths if t.since <= now and (t.until is None or now < t.until)}
    wanted = {t.address for t in truths if t.since <= now < t.wanted_until}
    known = {t.address: t.task for t in truths}
    problems = [f"{view.error}"] if view.error and wanted else []
    problems += [
        f"{address} is {'dead' if address in known else 'unknown'}"
        for address in sorted(view.addresses - alive)
    ]
    problems += [f"{address} ({known[address]}) is missing" for address in wanted - view.addresses]
    return problems


def _missing(truth: Truth, began: float, ended: float, *, still: bool = False) -> Stretch:
    return Stretch("missing", truth.address, truth.task, began, ended, open=still)


def _deaths(truths: Iterable[Truth]) -> Iterator[tuple[str, str, float, float]]:
    """(address, its last task, when it died, when it is taken again or for ever) of each death."""
    by_address: dict[str, list[Truth]] = {}
    for truth in truths:
        by_address.setdefault(truth.address, []).append(truth)
    for address, lives in by_address.items():
        lives.sort(key=lambda life: life.since)
        died, task = -_EVER, ""
        for life in lives:
            if -_EVER < died < life.since:
                yield address, task, died, life.since
            until = _EVER if life.until is None else life.until
            if until >= died:
                died, task = until, life.task
        if died < _EVER:
            yield address, task, died, _EVER
