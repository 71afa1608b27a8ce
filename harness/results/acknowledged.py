"""Failures that somebody knows about and has said so, in a TOML file in the repository.

::

    [[acknowledged]]
    failure = "leader_killed[dockerd]/time-to-a-new-leader/1f3a9c"
    note = "moby/moby#12345; fixed in 29.0"
    engines = ["20.10.5"]      # optional: on these engines only
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.results.toml_settings import read_toml

_TABLE = re.compile(r"\s*\[\[\s*acknowledged\s*\]\]")
_KEYS = (
    "tables are [[acknowledged]], each with failure (a name that `swarm-chaos results failures` "
    "prints), note, and if it is to hold on some engines only, engines"
)


@dataclass(frozen=True)
class Acknowledged:
    """A kind of failure that is known to somebody; without ``engines`` on all of them."""

    failure: str
    note: str
    engines: tuple[str, ...] = ()
    line: int = 0


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    failure: str
    note: str
    engines: list[str] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    acknowledged: list[dict[str, object]] = []


def read_acknowledged(path: Path) -> tuple[Acknowledged, ...]:
    """Read such a file; :class:`UsageError` says what is wrong with it, and in which line."""
    text, raw = read_toml(path, "the acknowledged failures")
    try:
        tables = msgspec.convert(raw, _File).acknowledged
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {_plainly(error)}", hint=_KEYS) from error
    lines = [n for n, line in enumerate(text.splitlines(), start=1) if _TABLE.match(line)]
    lines += [1] * (len(tables) - len(lines))  # written inline, they have no line of their own
    read = [_read(path, table, line) for table, line in zip(tables, lines, strict=False)]
    _refuse_twice(path, read)
    return tuple(read)


def _read(path: Path, table: dict[str, object], line: int) -> Acknowledged:
    where = f"{path}, line {line}"
    try:
        read = msgspec.convert(table, _Table)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {_plainly(error)}", hint=_KEYS) from error
    for key in ("failure", "note"):
        if not getattr(read, key).strip():
            raise UsageError(f"{where}: {key} is empty", hint=_KEYS)
    return Acknowledged(read.failure, read.note, tuple(read.engines), line)


def _refuse_twice(path: Path, read: Sequence[Acknowledged]) -> None:
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    for each in read:
        key = each.failure, tuple(sorted(each.engines))
        if key in seen:
            raise UsageError(
                f"{path}, line {each.line}: {each.failure!r} is acknowledged in line {seen[key]}",
                hint="remove one of them",
            )
        seen[key] = each.line


def _plainly(error: msgspec.ValidationError) -> str:
    what, _, where = str(error).partition(" - at `$")
    key = where.strip("`.")
    return f"{what} (at {key})" if key else what
