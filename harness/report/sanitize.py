"""Make text from records and logs safe to show; it is untrusted."""

from __future__ import annotations

import re

# Terminal sequences, control characters, and what neither UTF-8 nor XML can hold.
_UNSAFE = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
)


def plain(text: str, most: int | None = None) -> str:
    """Return text without control characters but tab and newline, cut to ``most`` characters."""
    text = _UNSAFE.sub("", text)
    return text if most is None or len(text) <= most else text[: most - 1] + "…"


def one_line(value: object) -> str:
    """Return a value as plain text on one line."""
    return " ".join(plain(str(value)).split())


def markdown_cell(text: str) -> str:
    """Return text that can neither leave a Markdown table cell nor be read as markup."""
    return re.sub(r"([\\`*_\[\]<>|#@!~&])", r"\\\1", one_line(text))
