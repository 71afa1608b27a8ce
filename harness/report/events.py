"""The events of a trial by time: its journal, and the problems in the daemons' logs."""

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
    """One row of the table of events.

    ``at`` is in trial seconds, None if the trial time is unknown; ``clock`` is then the node's
    own. ``source`` is the journal or a node, ``group`` the first word of ``kind``.
    """

    at: float | None
    clock: str
    source: str
    kind: str
    group: str
    text: str
    times: int = 1


def events_of(
    journal: Sequence[Mapping[str, Any]], problems: Iterable[LogProblem] = ()
) -> tuple[tuple[Event, ...], int]:
    """Return the journal's entries and the logs' problems by time, and how many were left out.

    A problem has a trial time when the journal begins with the nodes' clock (``wall``).
    """
    wall = next((_number(e.get("wall")) for e in journal if e.get("kind") == "trial.start"), None)
    problems = list(problems)
    events = [_event(entry) for entry in journal[:MOST_EVENTS]]
    events += [_of_log(problem, wall) for problem in problems[:MOST_LOG_PROBLEMS]]
    left = max(0, len(journal) - MOST_EVENTS) + max(0, len(problems) - MOST_LOG_PROBLEMS)
    return tuple(sorted(events, key=lambda e: math.inf if e.at is None else e.at)), left


def _event(entry: Mapping[str, Any]) -> Event:
    kind = plain(str(entry.get("kind", "?")), 60)
    facts = {k: v for k, v in entry.items() if k not in {"t", "kind", "wall"}}
    text = plain(_words(kind, facts), _MOST_TEXT)
    return Event(_number(entry.get("t")), "", JOURNAL, kind, kind.partition(".")[0], text)


def _of_log(problem: LogProblem, wall: float | None) -> Event:
    at = None if wall is None or problem.seconds is None else round(problem.seconds - wall, 3)
    # A clock that was set wrong on purpose, or a log of long before, has no place on the axis.
    if at is not None and at < -3600:
        at = None
    clock = "" if at is not None else problem.clock
    return Event(
        at,
        clock,
        plain(problem.node, 40),
        problem.level,
        problem.level,
        problem.text,
        problem.times,
    )


def _words(kind: str, facts: dict[str, Any]) -> str:
    match kind, facts:
        case "leader", {"leader": leader, **rest}:
            return f"{leader} leads{_seen_by(rest)}" if leader else f"no leader{_seen_by(rest)}"
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
