"""What the dockerds of a trial complained of: their logs' warnings and worse, gathered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.report.plain import plain

_PAIR = re.compile(r'([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|\S*)')
_LEVELS = {"warning": "warning", "warn": "warning", "error": "error", "fatal": "fatal"}
_LEVELS["panic"] = "panic"
_CRASH = re.compile(r"(panic|fatal error): ")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d(?:\.\d{1,3})?")
_MOST_TEXT = 600
MOST_COMPLAINTS = 300


@dataclass
class Complaint:
    """One message of one node; ``first`` is the node's wall clock at its first of ``times``."""

    node: str
    level: str
    text: str
    first: str
    times: int = 1


def complaints(folder: Path) -> tuple[Complaint, ...]:
    """Complaints in the dockerd logs under a trial's ``logs/``, by node and first occurrence.

    Equal messages of a node count as one. A log that cannot be read is itself a complaint.
    """
    gathered: list[Complaint] = []
    for path in sorted((folder / "logs").glob("*.log")):
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                gathered += _of_node(path.stem, lines)
        except OSError as error:
            gathered.append(Complaint(path.stem, "error", f"log not read: {error.strerror}", ""))
    return tuple(gathered)


def _of_node(node: str, lines: Iterable[str]) -> Iterator[Complaint]:
    known: dict[tuple[str, str], Complaint] = {}
    for line in lines:
        if (found := _complaint(node, line)) is None:
            continue
        first = known.setdefault((found.level, found.text), found)
        if first is not found:
            first.times += 1
    yield from known.values()


def _complaint(node: str, line: str) -> Complaint | None:
    if _CRASH.match(line):
        return Complaint(node, "panic", plain(line.strip(), _MOST_TEXT), "")
    if "level=" not in line:
        return None
    pairs = {key: _unquoted(value) for key, value in _PAIR.findall(line)}
    level = _LEVELS.get(pairs.get("level", ""))
    if level is None:
        return None
    text = pairs.get("msg", line.strip())
    if error := pairs.get("error"):
        text += f" ({error})"
    clock = _CLOCK.search(pairs.get("time", ""))
    return Complaint(node, level, plain(text, _MOST_TEXT), clock[0] if clock else "")


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", lambda m: {"n": " ", "t": " "}.get(m[1], m[1]), value[1:-1])
    return value
