"""Engine versions in order."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version


def by_version(text: str) -> tuple[int, Version | str]:
    """A key to sort engine versions by: the oldest first, what is no version after all others."""
    try:
        return 0, Version(text)
    except InvalidVersion:
        return 1, text
