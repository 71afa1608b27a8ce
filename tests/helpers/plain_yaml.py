"""Read the plain part of YAML that workflow files are written in; nothing here installs a parser.

Block mappings and sequences, ``|`` blocks, flow sequences of words, comments, plain and quoted
scalars. Scalars stay text. Whatever else a file holds is refused, not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_KEY = re.compile(r"([A-Za-z_][\w-]*):(?: +(.*))?$")
_SPECIAL = ("{", "&", "*", "!", ">", "%", "@", "`")


class NotPlain(ValueError):
    """A line that is not valid YAML, or not in the part that is read here."""


@dataclass(frozen=True)
class _Line:
    number: int
    indent: int
    text: str


def load(text: str) -> Any:
    """Return the document as dicts, lists and strings (None for an empty value)."""
    lines = [
        _Line(number, len(raw) - len(raw.lstrip()), raw.strip())
        for number, raw in enumerate(text.splitlines(), start=1)
        if raw.strip() and not raw.lstrip().startswith("#")
    ]
    value = _block(lines, lines[0].indent)
    if lines:
        raise NotPlain(f"line {lines[0].number}: not indented as what stands above it")
    return value


def _block(lines: list[_Line], indent: int) -> Any:
    return _sequence(lines, indent) if _is_item(lines[0].text) else _mapping(lines, indent)


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _sequence(lines: list[_Line], indent: int) -> list[Any]:
    found = []
    while lines and lines[0].indent == indent and _is_item(lines[0].text):
        first = lines[0]
        rest = first.text[1:].lstrip()
        if _KEY.match(rest):
            # A mapping that begins on the dash's own line goes on where its first key stands.
            column = indent + len(first.text) - len(rest)
            lines[0] = _Line(first.number, column, rest)
            found.append(_mapping(lines, column))
        else:
            found.append(_scalar(lines.pop(0), rest))
    return found


def _mapping(lines: list[_Line], indent: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while lines and lines[0].indent == indent and not _is_item(lines[0].text):
        line = lines.pop(0)
        if (parts := _KEY.match(line.text)) is None:
            raise NotPlain(f"line {line.number}: {line.text!r} is not a key and its value")
        if parts[1] in found:
            raise NotPlain(f"line {line.number}: {parts[1]} is there twice")
        found[parts[1]] = _value(line, parts[2], lines)
    return found


def _value(line: _Line, text: str | None, lines: list[_Line]) -> Any:
    if text == "|":
        below = [_next.text for _next in _deeper(lines, line.indent)]
        return "".join(f"{each}\n" for each in below)
    if text is not None:
        return _scalar(line, text)
    if lines and lines[0].indent > line.indent:
        return _block(lines, lines[0].indent)
    return None


def _deeper(lines: list[_Line], indent: int) -> list[_Line]:
    found = []
    while lines and lines[0].indent > indent:
        found.append(lines.pop(0))
    return found


def _scalar(line: _Line, text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return [word.strip() for word in text[1:-1].split(",")]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if not text or text.startswith(_SPECIAL) or ": " in text or text.endswith(":") or " #" in text:
        raise NotPlain(f"line {line.number}: {text!r} is not a plain value")
    return text
