"""Text from records and logs, made fit to be shown: it was written by others."""

from __future__ import annotations

import re

# Terminal sequences, control characters, and what neither UTF-8 nor XML can hold.
_UNFIT = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
)


def plain(text: str, most: int | None = None) -> str:
    """Text without control characters but tab and newline, cut to ``most`` characters."""
    text = _UNFIT.sub("", text)
    return text if most is None or len(text) <= most else text[: most - 1] + "…"


def one_line(value: object) -> str:
    """Anything as plain text on one line."""
    return " ".join(plain(str(value)).split())
