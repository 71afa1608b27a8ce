"""A YAML document whose parts know their lines, so that what is wrong with one can be said.

::

    ports = document.get("services").get("app").get("ports")
    raise ports.wrong("a list is expected")  # compose.yml, line 12: services.app.ports: a list …
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from harness.errors import UsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
_IN_SECONDS = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TRUE, _FALSE = {"true", "yes", "on"}, {"false", "no", "off"}


@dataclass(frozen=True)
class Item:
    """A mapping, a list or a scalar, its line in the file, and the keys that lead to it."""

    value: dict[str, Item] | list[Item] | str | None
    file: str
    line: int
    path: str = ""

    def wrong(self, why: str) -> UsageError:
        """Return the error that says where this is and why it is wrong."""
        where = f"{self.path}: " if self.path else ""
        return UsageError(f"{self.file}, line {self.line}: {where}{why}")

    # -- mappings and lists --------------------------------------------------------------------

    def keys(self, *known: str) -> dict[str, Item]:
        """Return a mapping's parts, {} for nothing; one beside the ``known`` keys is refused."""
        parts = self.mapping()
        for key, part in parts.items():
            if known and key not in known:
                kind = self.path or "the file"
                raise part.wrong(f"{kind} has no key {key!r}: known are {', '.join(known)}")
        return parts

    def mapping(self) -> dict[str, Item]:
        """Return a mapping's parts by their keys, {} for nothing."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.wrong("keys and their values are expected")
        return self.value

    def items(self) -> list[Item]:
        """Return a list's parts, [] for nothing."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.wrong("a list is expected")
        return self.value

    @property
    def is_mapping(self) -> bool:
        """Whether it has keys."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.value, list)

    # -- scalars -------------------------------------------------------------------------------

    def text(self) -> str:
        """Return a scalar's text, "" for nothing; ``$$`` is a dollar."""
        if self.value is None:
            return ""
        if not isinstance(self.value, str):
            raise self.wrong("one value is expected")
        if "$" in self.value.replace("$$", ""):
            raise self.wrong("variables are not filled in: write the value, or $$ for a dollar")
        return self.value.replace("$$", "$")

    def texts(self) -> tuple[str, ...]:
        """Return a list of scalars, or one of them, as texts."""
        return tuple(part.text() for part in (self.items() if self.is_list else [self]))

    def pairs(self) -> dict[str, str]:
        """Return ``{KEY: VALUE}`` of a mapping of scalars, or of a list of ``KEY=VALUE``."""
        if self.is_list:
            return dict(part.text().partition("=")[::2] for part in self.items())
        return {key: part.text() for key, part in self.mapping().items()}

    def one_of(self, *known: str) -> Any:
        """Return a scalar that is one of the ``known``."""
        if (text := self.text()) not in known:
            raise self.wrong(f"{text!r} is none of {', '.join(known)}")
        return text

    def flag(self) -> bool:
        """Return what is true or false."""
        text = self.text().lower()
        if text not in _TRUE | _FALSE:
            raise self.wrong(f"{text!r} is neither true nor false")
        return text in _TRUE

    def integer(self) -> int:
        """Return a whole number; with a leading 0 it is octal, as permissions are."""
        text = self.text()
        try:
            return int(text, 8 if re.fullmatch(r"0[0-7]+", text) else 10)
        except ValueError:
            raise self.wrong(f"{text!r} is not a whole number") from None

    def number(self) -> float:
        """Return a number."""
        try:
            return float(self.text())
        except ValueError:
            raise self.wrong(f"{self.text()!r} is not a number") from None

    def seconds(self) -> float:
        """Return a duration as Go writes it (``1m30s``) in seconds."""
        text = self.text()
        parts = _DURATION.findall(text)
        if "".join(amount + unit for amount, unit in parts) != text or not parts:
            raise self.wrong(f"{text!r} is not a duration: write 1m30s or 500ms")
        return float(
            sum(Fraction(amount) * Fraction(str(_IN_SECONDS[unit])) for amount, unit in parts)
        )

    def size(self) -> int:
        """Return a size (``64M``, ``1gb``, bytes) in bytes."""
        found = _SIZE.fullmatch(self.text().strip())
        if found is None:
            raise self.wrong(f"{self.text()!r} is not a size: write 64M or a number of bytes")
        return int(Fraction(found[1]) * 1024 ** _POWERS[found[2].lower()])


def read(text: str, file: str) -> Item:
    """Return a YAML document; :class:`UsageError` with file and line for what is none."""
    import yaml

    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or error
        raise UsageError(f"{file}{where}: this is not YAML: {why}") from None
    if node is None:
        raise UsageError(f"{file}: it is empty")
    return _item(node, file, "")


def _item(node: Any, file: str, path: str) -> Item:
    line = node.start_mark.line + 1
    if node.id == "scalar":
        null = node.tag == "tag:yaml.org,2002:null"
        return Item(None if null else node.value, file, line, path)
    if node.id == "sequence":
        parts = [_item(part, file, f"{path}[{n}]") for n, part in enumerate(node.value)]
        return Item(parts, file, line, path)
    return Item(dict(_members(node, file, path)), file, line, path)


def _members(node: Any, file: str, path: str) -> Iterator[tuple[str, Item]]:
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        inner = f"{path}.{name}" if path else name
        line = key.start_mark.line + 1
        if name in seen:
            raise UsageError(f"{file}, line {line}: {inner}: it is there twice")
        seen.add(name)
        item = _item(value, file, inner)
        yield name, Item(item.value, file, line, inner)
