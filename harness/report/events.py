"""The journal as a list to read: one line of words per entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.report.plain import plain

MOST_EVENTS = 2000
_MOST_TEXT = 500


@dataclass(frozen=True)
class Event:
    """One entry of the journal. ``group`` is the first word of its kind, to filter by."""

    at: str
    kind: str
    group: str
    text: str


def events_of(journal: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
    """The journal's entries in its own order, at most :data:`MOST_EVENTS` of them."""
    return tuple(_event(entry) for entry in journal[:MOST_EVENTS])


def _event(entry: Mapping[str, Any]) -> Event:
    at = entry.get("t")
    kind = plain(str(entry.get("kind", "?")), 60)
    facts = {k: v for k, v in entry.items() if k not in {"t", "kind"}}
    shown = f"{at:.3f}" if isinstance(at, int | float) else "?"
    return Event(shown, kind, kind.partition(".")[0], plain(_words(kind, facts), _MOST_TEXT))


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
