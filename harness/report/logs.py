"""Warnings and errors in the daemons' logs of a trial, by time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.report.sanitize import plain

_PAIR = re.compile(r'([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|\S*)')
_LEVELS = {"warning": "warning", "warn": "warning", "error": "error", "fatal": "fatal"}
_LEVELS["panic"] = "panic"
_CRASH = re.compile(r"(panic|fatal error): ")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d(?:\.\d{1,3})?")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MOST_TEXT = 600
_AGAIN_WITHIN = 10.0  # seconds: equal messages of a node this close are one, counted


@dataclass
class LogProblem:
    """One message of one node, logged ``times`` times.

    ``clock`` is the node's wall clock at the first, ``seconds`` the same as UTC seconds since
    the epoch (None: the line has no such time), ``last`` that of the last.
    """

    node: str
    level: str
    text: str
    clock: str
    seconds: float | None = None
    last: float | None = None
    times: int = 1


START = "start"
"""The level of the one problem that stands for all that dockerd logs while it starts."""

_START_BEGINS = ("Starting up",)
_START_ENDS = ("Daemon has completed initialization", "API listen on")


def log_problems(folder: Path) -> tuple[LogProblem, ...]:
    """Return the problems in the logs under a trial's ``logs/``, by node and first occurrence.

    Equal messages of a node within some seconds count as one, and so does everything up to an
    error that dockerd logs while it starts. A log that cannot be read is itself a problem.
    """
    gathered: list[LogProblem] = []
    for path in sorted((folder / "logs").glob("*.log")):
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                gathered += _of_node(path.stem, lines)
        except OSError as error:
            gathered.append(
                LogProblem(path.stem, "error", f"cannot read the log: {error.strerror}", "")
            )
    return tuple(gathered)


def _of_node(node: str, lines: Iterable[str]) -> Iterator[LogProblem]:
    found: list[LogProblem] = []
    known: dict[tuple[str, str], LogProblem] = {}
    starting: LogProblem | None = None
    for line in lines:
        if any(f'msg="{text}' in line for text in _START_BEGINS):
            starting = _start_of(node)
        elif any(f'msg="{text}' in line for text in _START_ENDS):
            starting = None
        if (problem := _problem(node, line)) is None:
            continue
        if starting is not None and problem.level in {"warning", "error"}:
            _count(starting, problem, found)
            continue
        before = known.get((problem.level, problem.text))
        if before is not None and _soon_after(before, problem):
            before.times += 1
            before.last = problem.seconds
        else:
            known[problem.level, problem.text] = problem
            found.append(problem)
    yield from found


def _start_of(node: str) -> LogProblem:
    text = f"messages while dockerd started: logs/{node}.log"
    return LogProblem(node, START, text, "", times=0)


def _count(starting: LogProblem, problem: LogProblem, found: list[LogProblem]) -> None:
    """Count ``problem`` as a message of a start, which is listed once it has any."""
    if not starting.times:
        starting.clock, starting.seconds = problem.clock, problem.seconds
        found.append(starting)
    starting.times += 1
    starting.last = problem.seconds


def _soon_after(before: LogProblem, problem: LogProblem) -> bool:
    if before.last is None or problem.seconds is None:
        return True
    return problem.seconds - before.last <= _AGAIN_WITHIN


def _problem(node: str, line: str) -> LogProblem | None:
    if _CRASH.match(line):
        return LogProblem(node, "panic", plain(line.strip(), _MOST_TEXT), "")
    if "level=" not in line:
        return None
    pairs = {key: _unquoted(value) for key, value in _PAIR.findall(line)}
    level = _LEVELS.get(pairs.get("level", ""))
    if level is None:
        return None
    text = pairs.get("msg", line.strip())
    if error := pairs.get("error"):
        text += f" ({error})"
    stamp = pairs.get("time", "")
    clock = _CLOCK.search(stamp)
    seconds = _seconds(stamp)
    return LogProblem(
        node, level, plain(text, _MOST_TEXT), clock[0] if clock else "", seconds, seconds
    )


def _seconds(stamp: str) -> float | None:
    """RFC 3339 with up to nanoseconds, as UTC seconds since the epoch."""
    match = _STAMP.fullmatch(stamp)
    if not match:
        return None
    try:
        seconds = datetime.fromisoformat(match[1] + ("+00:00" if match[3] == "Z" else match[3]))
    except ValueError:
        return None
    return seconds.timestamp() + float(f"0{match[2] or '.0'}")


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", lambda m: {"n": " ", "t": " "}.get(m[1], m[1]), value[1:-1])
    return value
