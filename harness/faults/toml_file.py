"""Files that people write in TOML or JSON: read, and where in one something is wrong."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import UsageError


def read_tables(path: Path) -> tuple[str, Any]:
    """Return a file's text and what it holds (JSON if its name ends so, else TOML).

    Raises :class:`UsageError`, with line and column, for what neither reader takes.
    """
    kind, load = ("JSON", json.loads) if path.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a valid text file: {error.reason}") from error
    try:
        return text, load(text)
    except ValueError as error:  # both say line and column
        raise UsageError(f"{path} is not valid {kind}: {error}") from error


def position(text: str, place: str) -> str:
    """Return `` (line 7, column 1)`` for a path as msgspec gives it, ``.fault[1].at``; "" if lost.

    The deepest key of the path that the TOML text has counts: one that is missing has no place.
    """
    lines = text.splitlines()
    start, best = -1, ""
    for name, index in re.findall(r"\.([\w-]+)(?:\[(\d+)\])?", place):
        end = next(_matching(lines, start + 1, r"\s*\["), len(lines))
        key = rf"(?:[\w-]+\.)*{name}"
        hits = (
            [n for n in _matching(lines, start + 1, rf"\s*{key}\s*=") if n < end]
            or list(_matching(lines, start + 1, rf"\s*\[+\s*{key}\s*\]"))
            or [n - 1 for n in _matching(lines, start + 1, rf"\s*\[+\s*{key}\.")]
        )
        if not hits:
            break
        start = hits[min(int(index or 0), len(hits) - 1)]
        line = lines[start] if start >= 0 else ""
        best = f" (line {start + 1}, column {len(line) - len(line.lstrip()) + 1})"
    return best if start >= 0 else ""


def _matching(lines: list[str], start: int, pattern: str) -> Iterator[int]:
    return (n for n in range(max(start, 0), len(lines)) if re.match(pattern, lines[n]))
