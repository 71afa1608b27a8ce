"""The engine's time stamps."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from harness.trial import TrialClock

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def epoch_seconds(stamp: str) -> float:
    """Return an RFC 3339 time (up to nanoseconds) in s since the epoch; 0.0 for other text."""
    match = _STAMP.fullmatch(stamp)
    if not match:
        return 0.0
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        seconds = datetime.fromisoformat(match[1] + zone).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return seconds + float(f"0.{match[2] or 0}")


def to_trial_time(clock: TrialClock) -> float:
    """Return what to add to seconds since the epoch for trial time, by the clocks of now."""
    return clock.now() - time.time()
