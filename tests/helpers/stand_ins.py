"""Hand a fake to code that asks for the real class, and say so where it happens."""

from __future__ import annotations

from typing import Any

UNUSED: Any = None
"""For an argument that what is tested never looks at."""


def stand_in(fake: object) -> Any:
    """Return ``fake`` as what it stands in for: types of it are no longer checked."""
    return fake
