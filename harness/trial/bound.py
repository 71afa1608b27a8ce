"""Bounds: the limit that a measure is held against."""

from __future__ import annotations

from typing import Literal

import msgspec

Direction = Literal["lower", "higher", "none"]


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limit that a measure has to keep, and where the number comes from (``source``)."""

    op: Literal["below", "above", "equals"]
    limit: float
    source: str = ""

    def holds(self, value: float) -> bool:
        """Return whether ``value`` keeps the bound; the limit itself does, for all three."""
        match self.op:
            case "below":
                return value <= self.limit
            case "above":
                return value >= self.limit
            case "equals":
                return value == self.limit
