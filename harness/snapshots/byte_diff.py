"""Comparing two trial folders byte by byte, and showing the first difference with its context."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from harness.snapshots.job import JOB_RECORD_FILE

#: Written by the host about a trial, and not by the trial itself.
_OF_THE_HOST = frozenset({JOB_RECORD_FILE})

_CONTEXT = 3
_LONGEST_LINE = 240


@dataclass(frozen=True)
class Difference:
    """Where two folders first differ: file, line (from 1), and the lines around it on each side."""

    file: str
    line: int
    recorded: tuple[str, ...]
    replayed: tuple[str, ...]
    files: tuple[str, ...]

    def __str__(self) -> str:
        head = f"first difference in {self.file}, line {self.line}"
        if len(self.files) > 1:
            head += f" ({len(self.files)} files differ: {', '.join(self.files)})"
        sides = [("recorded", self.recorded), ("replayed", self.replayed)]
        return "\n".join(
            [
                head,
                *(f"  {name}:\n" + "\n".join(f"    {x}" for x in lines) for name, lines in sides),
            ]
        )


def compare(recorded: Path, replayed: Path) -> Difference | None:
    """Return the first difference between two trials' folders; None if every byte is the same.

    The journal comes first: what happened explains what was logged.
    """
    names = sorted({*_files(recorded), *_files(replayed)}, key=_order)
    differing = [name for name in names if _bytes(recorded / name) != _bytes(replayed / name)]
    if not differing:
        return None
    first = differing[0]
    here, there = _lines(recorded / first), _lines(replayed / first)
    pairs = enumerate(zip_longest(here, there))
    at = next((number for number, (one, other) in pairs if one != other), 0)
    return Difference(first, at + 1, _around(here, at), _around(there, at), tuple(differing))


def _order(name: str) -> tuple[int, str]:
    for rank, start in enumerate(("journal.jsonl", "samples/", "logs/", "trial.json", "console")):
        if name.startswith(start):
            return rank, name
    return 9, name


def _files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [str(p.relative_to(folder)) for p in found if p.name not in _OF_THE_HOST]


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _lines(path: Path) -> list[bytes]:
    """Return a file's lines with their ends; only a newline ends one, whatever the encoding."""
    content = _bytes(path)
    if content is None:
        return [b"(there is no such file)\n"]
    *lines, last = content.split(b"\n")
    return [*(line + b"\n" for line in lines), *([last] if last else [])]


def _around(lines: list[bytes], at: int) -> tuple[str, ...]:
    start = max(0, at - _CONTEXT)
    shown = [
        f"{'>' if number == at else ' '} {number + 1}: {_shown(line)}"
        for number, line in enumerate(lines[start : at + _CONTEXT + 1], start)
    ]
    return tuple(shown) if at < len(lines) else (*shown, f"> {at + 1}: (the file ends)")


def _shown(line: bytes) -> str:
    text = line.removesuffix(b"\n").decode(errors="backslashreplace")
    text = "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
    cut = text[:_LONGEST_LINE] + ("..." if len(text) > _LONGEST_LINE else "")
    return cut if line.endswith(b"\n") else f"{cut} (no newline at its end)"
