"""The order of engine versions."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version


def by_version(text: str) -> tuple[int, Version | str]:
    """Return a key that sorts engine versions oldest first, and anything else after them."""
    try:
        return 0, Version(text)
    except InvalidVersion:
        return 1, text
