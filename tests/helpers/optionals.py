"""Take a value that may be None for one that is there."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def not_none(value: T | None) -> T:
    """Return ``value``; fail the test if it is None, before it is compared with anything."""
    assert value is not None
    return value
