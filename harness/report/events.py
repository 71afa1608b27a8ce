"""What happened in a trial, by time: its journal, and what the daemons' logs complained of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.report.logs import LogProblem
from harness.report.sanitize import plain

MOST_EVENTS = 2000
MOST_LOG_PROBLEMS = 400
_MOST_TEXT = 500
JOURNAL = "journal"


@dataclass(frozen=True)
class Event:
    """One line to read.

    ``at`` is in trial seconds, None where the trial's time cannot be told; ``clock`` then says
    the node's own. ``source`` is the journal or a node, ``group`` the first word of ``kind``.
    """

    at: float | None
    clock: str
    source: str
    kind: str
    group: str
    text: str
    times: int = 1


def events_of(
    journal: Sequence[Mapping[str, Any]], said: Iterable[LogProblem] = ()
) -> tuple[tuple[Event, ...], int]:
    """The journal's entries and the logs' log_problems by time, and how many were left out.

    A problem has a trial time when the journal begins with the nodes' clock (``wall``).
    """
    wall = next((_number(e.get("wall")) for e in journal if e.get("kind") == "trial.start"), None)
    said = list(said)
    events = [_event(entry) for entry in journal[:MOST_EVENTS]]
    events += [_of_log(problem, wall) for problem in said[:MOST_LOG_PROBLEMS]]
    left = max(0, len(journal) - MOST_EVENTS) + max(0, len(said) - MOST_LOG_PROBLEMS)
    return tuple(sorted(events, key=lambda e: math.inf if e.at is None else e.at)), left


def _event(entry: Mapping[str, Any]) -> Event:
    kind = plain(str(entry.get("kind", "?")), 60)
    facts = {k: v for k, v in entry.items() if k not in {"t", "kind", "wall"}}
    text = plain(_words(kind, facts), _MOST_TEXT)
    return Event(_number(entry.get("t")), "", JOURNAL, kind, kind.partition(".")[0], text)


def _of_log(said: LogProblem, wall: float | None) -> Event:
    at = None if wall is None or said.seconds is None else round(said.seconds - wall, 3)
    # A clock that was set wrong on purpose, or a log of long before, has no place on the axis.
    if at is not None and at < -3600:
        at = None
    clock = "" if at is not None else said.clock
    return Event(at, clock, plain(said.node, 40), said.level, said.level, said.text, said.times)


def _words(kind: str, facts: dict[str, Any]) -> str:
    match kind, facts:
        case "leader", {"leader": leader, **rest}:
            return f"{leader or 'nobody'} leads{_seen_by(rest)}"
        case "node.state", {"node": node, "state": state, **rest}:
            return f"{node} is {state}{_seen_by(rest)}"
        case "trial.start", {"inputs": _}:
            return "with the inputs above"
        case "lab.ready", {"nodes": dict() as nodes}:
            return "; ".join(f"{name}: {_node(facts)}" for name, facts in nodes.items())
        case "note", {"text": text}:
            return str(text)
        case "doubt", {"reason": reason}:
            return str(reason)
        case _:
            return ", ".join(f"{key}: {_fact(value)}" for key, value in facts.items())


def _node(facts: Any) -> str:
    if not isinstance(facts, dict):
        return _fact(facts)
    return ", ".join(str(value) for value in facts.values() if value)


def _seen_by(facts: Mapping[str, Any]) -> str:
    return f" (seen by {facts['by']})" if facts.get("by") else ""


def _fact(value: Any) -> str:
    match value:
        case str():
            return value
        case list() if all(isinstance(v, str | int | float) for v in value):
            return " ".join(str(v) for v in value)
        case dict() if all(isinstance(v, str | int | float) for v in value.values()):
            return " ".join(f"{k}={v}" for k, v in value.items())
        case _:
            return msgspec.json.encode(value).decode()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
