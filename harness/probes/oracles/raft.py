"""Raft's two promises, by the lines that every manager writes to its dockerd's log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.probes.leadership import LINE

_MARK = b'msg="raft.node: '


def raft_lines(log: Path) -> list[re.Match[str]]:
    """Return all changes of leader that a log tells of, in its order.

    Every log is read so at the end of every trial, in a guest that is emulated: most lines are
    passed over by a search for bytes.
    """
    try:
        lines = log.read_bytes().split(b"\n")
    except OSError:
        return []  # a dockerd that was never started has no log
    found = (LINE.match(line.decode(errors="replace")) for line in lines if _MARK in line)
    return [match for match in found if match is not None]


def shared_terms(logs: Iterable[tuple[str, Sequence[re.Match[str]]]]) -> list[str]:
    """Return the terms for which logs, given by node, name two leaders, as sentences.

    Leaders are raft ids: a node that left and joined again is another member.
    """
    leaders: dict[int, dict[str, str]] = {}
    for node, matches in logs:
        for match in matches:
            if leader := match["elected"] or match["changed"]:
                leaders.setdefault(int(match["term"]), {}).setdefault(leader, node)
    return [
        f"term {term}: " + ", ".join(f"{who} by {node}" for who, node in sorted(seen.items()))
        for term, seen in sorted(leaders.items())
        if len(seen) > 1
    ]


def fallen_terms(logs: Iterable[tuple[str, Sequence[re.Match[str]]]]) -> list[str]:
    """Return where a member's term fell from one line of its log to the next, as sentences."""
    found = []
    for node, matches in logs:
        highest: dict[str, int] = {}
        for match in matches:
            own, term = match["own"], int(match["term"])
            if term < highest.get(own, 0):
                found.append(f"{node}: term {term} after {highest[own]}")
            highest[own] = term
    return found
