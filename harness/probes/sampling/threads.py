"""Whether a probe's threads still sample when it is closed: one that has ended saw no more."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from harness.trial import Trial


def doubt_ended(probe: str, threads: Iterable[threading.Thread], trial: Trial) -> None:
    """Doubt the trial for each of a probe's threads that has ended although nobody has told it to.

    Call it before they are told. What a thread raised is recorded where it was raised.
    """
    for thread in threads:
        if not thread.is_alive():
            trial.doubt(f"the {probe} probe stopped early: its thread {thread.name} has ended")
