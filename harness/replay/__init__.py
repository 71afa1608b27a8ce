"""Replay: a recorded trial again, from its inputs alone, compared to the byte."""

from harness.replay.compare import Difference, compare
from harness.replay.replaying import Replayed, replay

__all__ = ["Difference", "Replayed", "compare", "replay"]
