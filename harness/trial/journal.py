"""The journal: what happened in a trial, in order, one JSON object a line.

Each line has ``t`` (seconds since the trial began) and ``kind`` (a dotted name such as
``fault.inject``); the rest belongs to the kind. A line is on disk before the call returns, so
what was about to be injected is known even if the harness dies in the middle of it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import TrialError
from harness.trial.clock import TrialClock

_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_RESERVED = frozenset({"t", "kind"})

Listener = Callable[[dict[str, Any]], None]


class Journal:
    """Append-only, in the order of the clock, safe to use from several threads."""

    def __init__(self, path: Path, clock: TrialClock) -> None:
        self.path = path
        self.clock = clock
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise TrialError(f"cannot write the journal {path}: {error.strerror}") from error

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every entry written from now on (live progress)."""
        self._listeners.append(listener)

    def write(self, kind: str, **facts: Any) -> float:
        """Write one entry now; return its time in seconds since the trial began.

        Raises :class:`TrialError` for a kind that is not dotted lower case, for facts named like
        the journal's own (``t``, ``kind``), and for what cannot be written.
        """
        if not _KIND.fullmatch(kind):
            raise TrialError(
                f"{kind!r} is not a valid kind of journal entry: give lower-case words, with dots"
            )
        if clash := _RESERVED & facts.keys():
            raise TrialError(
                f"{', '.join(sorted(clash))}: reserved for the journal, not facts of an entry"
            )
        with self._lock:
            entry: dict[str, Any] = {"t": self.clock.now(), "kind": kind, **facts}
            try:
                self._file.write(msgspec.json.encode(entry) + b"\n")
            except (OSError, TypeError) as error:
                raise TrialError(f"cannot write to the journal {self.path}: {error}") from error
        for listener in self._listeners:
            listener(entry)
        at: float = entry["t"]
        return at

    def close(self) -> None:
        """Close the file; writing afterwards is an error."""
        self._file.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal or samples file; a torn last line is left out.

    Raises :class:`TrialError` for a line in the middle that is not JSON.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise TrialError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            yield msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            if number == len(lines):  # no newline behind it: the writer died in mid-line
                return
            raise TrialError(f"{path}, line {number}: not an entry ({error})") from error
